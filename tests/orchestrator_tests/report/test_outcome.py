from dataclasses import asdict

import numpy as np
import pytest

from orchestrator.ensemble.scoring import evaluate
from orchestrator.evaluation.scores import Scores
from orchestrator.report.outcome import N_MISTAKES, Outcome, _remark, tell_outcome, tell_ways
from shared.metrics import average_precision
from tests.tiny_bundle import comparison_of, decisions_of

NAMES = ("a", "b")
LABELS = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=np.float32)
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.2], [0.1, 0.4]], dtype=np.float32)
SCORES = {
    "test": Scores(np.array([3, 5, 8, 9]), LABELS, PROBABILITIES),
    "logistic_regression": Scores(np.array([3, 5, 8, 9]), LABELS, 1 - PROBABILITIES),
}
ALONE = {"source": "best", "teams": [{"trial": 3, "share": 1.0}]}
DECISIONS = decisions_of(*NAMES)
REST = {
    "decisions": DECISIONS,
    "ensemble": ALONE,
    "comparison": comparison_of(),
    "regularisation": {"description": "C = 10"},
}
METRICS = {
    name: asdict(average_precision(one.labels, one.probabilities, NAMES))
    for name, one in SCORES.items()
} | REST


def _tell(texts: tuple[str, ...] | None = None, threshold: float = 0.5) -> Outcome:
    return tell_outcome(SCORES, METRICS, NAMES, (threshold, 0.3), texts, 0)


def test_the_ensemble_stands_beside_what_was_scored() -> None:
    outcome = _tell()
    assert list(outcome.averages) == ["ensemble", "logistic regression"]
    assert list(outcome.comparison.differences) == ["logistic regression", "default head"]
    assert outcome.comparison.values["ensemble"].value == 0.9
    assert outcome.regularisation == "C = 10"


def test_decisions_are_judged_at_each_labels_threshold() -> None:
    a, b = _tell().labels
    assert (a.prevalence, a.threshold, a.precision, a.recall, a.f1) == (0.5, 0.5, 0.5, 0.5, 0.5)
    assert (b.threshold, b.precision, b.recall) == (0.3, 1.0, 1.0)
    assert _tell(threshold=0.95).labels[0].precision == 0, "no row is said to have it"


def test_figures_of_0_are_said_in_words() -> None:
    assert [label.remark for label in _tell().labels] == [None, None]
    assert _tell(threshold=0.95).labels[0].remark == "no test row gets it, though 2 have it"
    labels, none, wrong, right = np.array(
        [[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]], dtype=bool
    )
    assert _remark(labels, wrong) == "1 test row gets it, but is none of the 2 that have it"
    assert _remark(none, wrong) == "no test row has it, so these rows do not tell how good it is"
    assert _remark(labels, right) is None


def test_a_class_is_decided_by_the_most_probable_one_and_has_no_threshold() -> None:
    labels = np.stack([LABELS[:, 0], 1 - LABELS[:, 0]], axis=1)
    scores = {"test": Scores(np.array([3, 5, 8, 9]), labels, PROBABILITIES)}
    metrics = evaluate(scores, NAMES, "multiclass") | REST
    outcome = tell_outcome(scores, metrics, NAMES, None, None, 0)
    a, b = outcome.labels
    assert (a.threshold, a.precision, a.recall, b.recall) == (None, 0.5, 0.5, 0.5)
    assert [mistake.row for mistake in a.mistakes] == [mistake.row for mistake in b.mistakes]
    assert outcome.averages["ensemble"]["accuracy"] == 0.5


def test_mistakes_are_told_by_row_the_most_confident_first() -> None:
    a, b = _tell(tuple("abcdefghij")).labels
    assert [(m.row, m.truth, m.text) for m in a.mistakes] == [(6, True, "f"), (9, False, "i")]
    assert a.mistakes[0].probability == pytest.approx(0.2)
    assert (a.n_mistakes, b.n_mistakes, b.mistakes) == (2, 0, ())


def test_texts_are_not_told_unless_given_and_ten_mistakes_are_enough() -> None:
    many = Scores(np.arange(40), np.tile(LABELS[:, :1], (10, 1)), np.tile([[0.4]], (40, 1)))
    metrics = {"test": asdict(average_precision(many.labels, many.probabilities, ("a",)))}
    metrics |= REST
    (label,) = tell_outcome({"test": many}, metrics, ("a",), (0.5,), None, 0).labels
    assert label.n_mistakes == 20
    assert len(label.mistakes) == N_MISTAKES
    assert {mistake.text for mistake in label.mistakes} == {None}


def test_a_trial_alone_has_no_other_ways() -> None:
    made = tell_ways({"source": "best", "teams": [{"trial": 7, "share": 1.0}]})
    assert (made.shares, made.ways) == ({"trial 7": 1.0}, ())


def test_teams_without_a_share_are_left_out_and_the_way_that_was_taken_is_marked() -> None:
    teams = [{"trial": 7, "share": 0.6}, {"trial": 2, "share": 0.0}, {"trial": None, "share": 0.4}]
    ways = {way: {"out_of_fold": 0.9, "nested": 0.8} for way in ("best", "greedy")}
    made = tell_ways({"source": "greedy", "teams": teams, "ways": ways})
    assert made.shares == {"trial 7": 0.6, "the kernel machine": 0.4}
    best, greedy = made.ways
    assert (best.is_taken, best.nested) == (False, 0.8)
    assert greedy.is_taken
