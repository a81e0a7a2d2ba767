import time

import pytest
from optuna.trial import TrialState

from orchestrator.report.drawings import MAX_COMPARED, Drawing, draw_search
from shared.config.sections import Objective
from tests.orchestrator_tests.report.contrast import worst_contrast
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


@pytest.fixture(scope="module")
def of_three() -> dict[str, Drawing]:
    """Return the figures of 12 trials with three objectives."""
    trials = [make_trial(i) for i in range(12)]
    for trial in trials:
        units = float(trial.params["n_units_l0"])
        trial.values = [1 - trial.values[0] / 3, units, 400 - units]
    return draw_search(trials, 12, ["ap_weighted", "n_parameters", "latency_ms"])


def test_several_objectives_have_the_history_and_importance_of_each(
    of_three: dict[str, Drawing],
) -> None:
    history = of_three["optimization_history"].figure
    names = ["weighted average precision", "number of parameters", "latency (ms)"]
    assert [axis.title.text for axis in history.select_yaxes()] == names
    best = [trace for trace in history.data if trace.name == "best so far"]
    assert [(line.y[-1] - line.y[0] > 0) for line in best] == [True, False, False]
    bars = of_three["param_importances"].figure
    assert {bar.name: bar.y[-1] for bar in bars.data} == {
        names[0]: "dropout0",
        names[1]: "n_units_l0",
        names[2]: "n_units_l0",
    }
    assert bars.layout.showlegend


def test_each_pair_of_objectives_has_a_picture_of_the_pareto_front(
    of_three: dict[str, Drawing],
) -> None:
    front = of_three["pareto_front"].figure
    pairs = zip(front.select_xaxes(), front.select_yaxes(), strict=True)
    assert [(x.title.text[:6], y.title.text[:6]) for x, y in pairs] == [
        ("weight", "number"),
        ("weight", "latenc"),
        ("number", "latenc"),
    ]
    shown = [trace for trace in front.data if trace.name == "Pareto front"]
    assert len({len(trace.x) for trace in shown}) == 1
    assert f"{len(shown[0].x)} of 12 complete trials are on the front." in (
        of_three["pareto_front"].caption
    )


def test_parameters_are_drawn_against_the_first_of_several_objectives(
    of_three: dict[str, Drawing],
) -> None:
    for name in ("parallel_coordinate", "slice"):
        assert "By weighted average precision, the first objective." in of_three[name].caption


@pytest.mark.parametrize(
    ("n_complete", "said"), [(9, "the best tenth is one"), (29, "the best tenth are 3"), (30, "")]
)
def test_importance_from_few_trials_says_how_little_it_is(n_complete: int, said: str) -> None:
    caption = draw_search([make_trial(i) for i in range(n_complete)], 30, LOSS)[
        "param_importances"
    ].caption
    assert said in caption
    assert ("little to go by" in caption) == bool(said)


def test_every_axis_has_a_name(of_three: dict[str, Drawing]) -> None:
    for name, drawing in of_three.items():
        axes = [*drawing.figure.select_xaxes(), *drawing.figure.select_yaxes()]
        for axis in axes:
            # The parallel coordinates have their names where others have numbers.
            is_named = axis.title.text or axis.ticktext or axis.visible is False
            assert is_named, f"{name}: {axis}"
    names = of_three["parallel_coordinate"].figure.layout.xaxis
    assert names.ticktext == ("weighted<br>average<br>precision", "dropout0", "n_units_l0")
    assert names.ticklabeloverflow == "allow", "or the outer ones are left out"


def test_every_mark_can_be_told_from_light_and_from_dark_paper(
    of_three: dict[str, Drawing],
) -> None:
    """By 3 to 1, as https://www.w3.org/WAI/WCAG22/Understanding/non-text-contrast.html asks."""
    pruned = draw_search([make_trial(0, TrialState.PRUNED), make_trial(1)], 2, LOSS)
    for name, drawing in [*of_three.items(), *pruned.items()]:
        assert worst_contrast(drawing.figure) >= 3, name


def test_the_best_line_of_the_parallel_coordinates_is_the_darkest() -> None:
    trials = [make_trial(i) for i in range(12)]
    for objectives, best in ((LOSS, min), (["ap_weighted"], max)):
        lines = draw_search(trials, 12, objectives)["parallel_coordinate"].figure.data
        (darkest,) = [line for line in lines if line.line.color == "rgb(58, 26, 122)"]
        assert darkest.y[0] == best(line.y[0] for line in lines)


def test_the_best_is_the_greatest_where_the_objective_is_maximised() -> None:
    trials = [make_trial(i) for i in range(12)]
    history = draw_search(trials, 12, ["ap_weighted"])["optimization_history"].figure
    best = max(trial.value or 0 for trial in trials)
    (line,) = [trace for trace in history.data if trace.name == "best so far"]
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
