from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from orchestrator.evaluation.scores import Scores
from orchestrator.report.figures import (
    FAINT,
    MAX_CURVES,
    MAX_POINTS,
    budget_over_time,
    calibration,
    confusion,
    label_precision,
    learning_curves,
    precision_recall,
)

N_ROWS = 4000
START = datetime(2025, 1, 1)  # noqa: DTZ001  Optuna's times are local
METRICS = {
    "test": {"per_label": {"joy": 0.7, "<b>fear</b>": 0.6, "awe": None}},
    "out_of_fold": {"per_label": {"joy": 0.9, "<b>fear</b>": 0.9, "awe": 0.9}},
    "logistic_regression": {"per_label": {"joy": 0.5, "<b>fear</b>": 0.65, "awe": None}},
}


def _trial(number: int, state: TrialState, values: Sequence[float]) -> FrozenTrial:
    trial = optuna.trial.create_trial(
        state=state,
        value=None if state is TrialState.FAIL else min(values),
        intermediate_values=dict(enumerate(values)),
    )
    trial.number = number
    trial.datetime_complete = START + timedelta(seconds=number)
    return trial


TRIALS = [
    _trial(0, TrialState.COMPLETE, [0.6, 0.5]),
    _trial(1, TrialState.PRUNED, [0.9]),
    _trial(2, TrialState.COMPLETE, [0.6, 0.4, 0.41]),
    _trial(3, TrialState.COMPLETE, [0.7, 0.6]),
]


@pytest.fixture(scope="module")
def scores() -> Scores:
    """Return rows of two labels that are as likely as they are said to be, and one never there."""
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(size=(N_ROWS, 3)).astype(np.float32)
    labels = (rng.uniform(size=(N_ROWS, 3)) < probabilities).astype(np.float32)
    labels[:, 2] = 0
    return Scores(np.arange(N_ROWS), labels, probabilities)


def test_the_best_curves_have_a_trace_each_in_their_order() -> None:
    figure = learning_curves(TRIALS, n_best=2)
    assert [trace.name for trace in figure.data] == ["trial 2", "trial 0"]
    assert list(figure.data[0].x) == [1, 2, 3]
    assert list(figure.data[0].y) == [0.6, 0.4, 0.41]


def test_all_curves_are_drawn_and_pruned_ones_in_grey() -> None:
    pruned, complete, best = learning_curves(TRIALS).data
    assert [t.name for t in (pruned, complete, best)] == ["pruned (1)", "complete (2)", "best (1)"]
    assert (pruned.line.color, pruned.opacity) == (FAINT, None), "faded ones cannot be seen"
    assert list(complete.y) == [0.6, 0.5, None, 0.7, 0.6], "two lines with a gap between them"


def test_a_figure_of_thousands_of_trials_says_what_it_leaves_out() -> None:
    many = [_trial(i, TrialState.PRUNED, [0.5] * 5) for i in range(5000)]
    (pruned,) = learning_curves(many).data
    assert pruned.name == f"pruned ({MAX_CURVES} of 5,000 drawn)"
    assert len(pruned.x) == MAX_CURVES * 6 - 1


def test_no_trial_at_all_is_an_empty_figure() -> None:
    assert not learning_curves([]).data
    assert [len(trace.x) for trace in budget_over_time([], 10).data] == [0, 0]


def test_labels_stand_in_the_order_of_the_ensembles_precision_beside_the_baselines() -> None:
    baseline, ours = label_precision(METRICS, "multilabel").data
    assert (baseline.name, ours.name) == ("logistic regression", "ensemble")
    assert list(ours.y) == ["&lt;b&gt;fear&lt;/b&gt;", "joy"], "and nothing of it is markup"
    assert list(ours.x) == [0.6, 0.7]
    assert list(baseline.x) == [0.65, 0.5]


def test_a_legend_above_the_labels_has_room_below_the_title() -> None:
    legend_px = 25
    layout = label_precision(METRICS, "multilabel").layout
    assert layout.margin.t >= layout.template.layout.margin.t + legend_px


def test_a_label_without_a_positive_row_has_no_curve(scores: Scores) -> None:
    names = ("a", "b", "c")
    assert [trace.name[:1] for trace in precision_recall(scores, names).data] == ["a", "b"]
    assert [t.name for t in calibration(scores, names).data] == ["perfect", "a", "b"]


def test_a_precision_recall_curve_goes_from_all_rows_to_none(scores: Scores) -> None:
    curve = precision_recall(scores, ("a", "b", "c")).data[0]
    assert (curve.x[0], curve.x[-1], curve.y[-1]) == (1, 0, 1)
    assert curve.y[0] == pytest.approx(scores.labels[:, 0].mean(), abs=1e-3)
    assert len(curve.x) == MAX_POINTS


def test_probabilities_that_hold_lie_on_the_diagonal(scores: Scores) -> None:
    curve = calibration(scores, ("a", "b", "c")).data[1]
    np.testing.assert_allclose(curve.x, curve.y, atol=0.08)


def test_a_confusion_has_a_row_a_true_class_whose_shares_add_up_to_one() -> None:
    labels, probabilities = np.eye(3)[[0, 0, 0, 1]], np.eye(3)[[0, 0, 1, 1]]
    (cells,) = confusion(Scores(np.arange(4), labels, probabilities), ("a", "<b>", "c")).data
    assert cells.y == ("a", "&lt;b&gt;", "c")
    assert np.array(cells.text).tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert np.sum(cells.z, axis=1) == pytest.approx([1, 1, 0], abs=1e-3)


def test_the_budget_fills_up_with_finished_trials() -> None:
    figure = budget_over_time([*TRIALS, _trial(4, TrialState.FAIL, [0.1])], 10)
    finished, pruned = figure.data
    assert list(finished.y) == [1, 2, 3, 4]
    assert list(pruned.y) == [1]
    assert finished.x[0] == START
    assert figure.layout.annotations[0].text == "budget: 10"
