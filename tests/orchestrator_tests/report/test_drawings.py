import time

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from orchestrator.report.drawings import MAX_COMPARED, chosen, draw_search
from shared.sections import Objective
from tests.orchestrator_tests.report.trials import make_trial

LOSS: list[Objective] = ["validation_loss"]
OF_PARAMS = {"optimization_history", "param_importances", "parallel_coordinate", "slice"}


@pytest.mark.parametrize("n_complete", [0, 1])
def test_parameters_are_not_compared_before_two_trials_are_complete(n_complete: int) -> None:
    trials = [make_trial(i) for i in range(n_complete)]
    trials.append(make_trial(n_complete, TrialState.PRUNED))
    assert draw_search(trials, 10, LOSS).keys() == {"learning_curves", "budget_over_time"}


def test_two_complete_trials_are_compared() -> None:
    assert draw_search([make_trial(0), make_trial(1)], 10, LOSS).keys() >= OF_PARAMS


def test_trials_keep_their_numbers_where_others_are_not_complete() -> None:
    states = [TrialState.FAIL, TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    drawings = draw_search([make_trial(i, state) for i, state in enumerate(states)], 10, LOSS)
    assert list(drawings["optimization_history"].figure.data[0].x) == [1, 3]


def test_the_parameter_that_decides_comes_first() -> None:
    bars = draw_search([make_trial(i) for i in range(60)], 60, LOSS)[
        "param_importances"
    ].figure.data[0]
    assert bars.y[list(bars.x).index(max(bars.x))] == "dropout0"


def test_of_many_trials_the_best_and_the_records_are_chosen() -> None:
    complete = [make_trial(i) for i in range(500)]
    kept = chosen(complete, 40, StudyDirection.MINIMIZE)
    ranked = sorted(complete, key=lambda trial: trial.value or 0)
    assert {trial.number for trial in ranked[:20]} <= {trial.number for trial in kept}
    assert kept[0].number == 0, "it was the best when it ended"
    assert len(kept) <= 50
    assert [trial.number for trial in kept] == sorted(trial.number for trial in kept)


def test_two_objectives_have_a_front_and_the_figures_of_the_first() -> None:
    trials = [make_trial(i) for i in range(12)]
    for trial in trials:
        trial.values = [*trial.values, float(trial.params["n_units_l0"])]
    drawings = draw_search(trials, 12, ["validation_loss", "n_parameters"])
    assert drawings.keys() >= OF_PARAMS | {"pareto_front"}
    axes = drawings["pareto_front"].figure.layout
    assert axes.xaxis.title.text == "validation loss"
    assert axes.yaxis.title.text == "number of parameters"
    history = drawings["optimization_history"].figure
    assert history.layout.yaxis.title.text == "validation loss"


def test_three_objectives_are_too_many_for_a_front_on_paper() -> None:
    trials = [make_trial(i) for i in range(3)]
    for trial in trials:
        trial.values = [*trial.values, 1.0, 2.0]
    drawn = draw_search(trials, 3, ["validation_loss", "n_parameters", "latency_ms"])
    assert "pareto_front" not in drawn
    assert drawn.keys() >= OF_PARAMS


def test_the_best_is_the_greatest_where_the_objective_is_maximised() -> None:
    trials = [make_trial(i) for i in range(12)]
    history = draw_search(trials, 12, ["ap_weighted"])["optimization_history"].figure
    best = max(trial.value or 0 for trial in trials)
    (line,) = [trace for trace in history.data if trace.name == "Best Value"]
    assert line.y[-1] == best
    assert history.layout.yaxis.title.text == "weighted average precision"


def test_thousands_of_trials_make_figures_that_a_browser_bears() -> None:
    trials = [make_trial(i, epochs=50) for i in range(2000)]
    started = time.monotonic()
    drawings = draw_search(trials, 2000, LOSS)
    assert time.monotonic() - started < 30
    assert sum(len(drawing.figure.to_json()) for drawing in drawings.values()) < 2_000_000
    assert "of 2,000 complete trials" in drawings["slice"].caption
    assert len(drawings["parallel_coordinate"].figure.data) <= 1 + MAX_COMPARED
