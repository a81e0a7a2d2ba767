"""Draw the figures of a report, few enough and small enough for a browser."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from orchestrator.decisions.describe import is_calibrated
from orchestrator.evaluation.scores import Scores
from orchestrator.report.comparisons import (
    NAMES,
    history,
    importances,
    parallel_coordinates,
    pareto_front,
    slices,
)
from orchestrator.report.excerpt import chosen, completed, of_objective, stand_in
from orchestrator.report.figures import (
    budget_over_time,
    calibration,
    confusion,
    label_precision,
    learning_curves,
    precision_recall,
)
from shared.config.sections import Objective
from shared.study.objectives import direction_of
from shared.training.params import Task

INK = "#2b3037"
"""The colour of text on light paper; on dark paper the page turns figures over."""
MIN_COMPLETE = 2
"""Complete trials that it takes to compare parameters."""
MAX_HISTORY = 1000
"""Trials in the optimisation history."""
MAX_COMPARED = 200
"""Trials in the parallel coordinates and the slices: a line or a dozen dots each."""
FEW_COMPLETE = 30
"""Complete trials below which importance says little: its best tenth are two trials or one."""
AXIS_PX = 80
"""The least width of one of the parallel coordinates."""


@dataclass(frozen=True)
class Drawing:
    """Hold a figure, what is to be said of it, and the least width it needs, in pixels."""

    figure: go.Figure
    caption: str = ""
    min_width: int = 0


def draw_search(
    trials: Sequence[FrozenTrial], n_trials: int, objectives: Sequence[Objective]
) -> dict[str, Drawing]:
    """Draw how the search went, by name of the figure; `trials` are all, in their order.

    Of several objectives, the first is what parameters are drawn against.
    """
    of_first = of_objective(trials, 0)
    drawings = {
        "budget_over_time": Drawing(budget_over_time(trials, n_trials)),
        "learning_curves": Drawing(
            learning_curves(of_first, direction=direction_of(objectives[0]))
        ),
    }
    if len(completed(trials)) < MIN_COMPLETE:
        return drawings
    are_several = len(objectives) > 1
    drawings |= _compare(trials, objectives)
    drawings |= _compare_in(of_first, objectives[0], is_one_of_several=are_several)
    return drawings | (_draw_front(trials, objectives) if are_several else {})


def _compare(trials: Sequence[FrozenTrial], objectives: Sequence[Objective]) -> dict[str, Drawing]:
    """Draw what each of the objectives has of its own."""
    complete, studies = completed(trials), []
    for i, objective in enumerate(objectives):
        of_one = of_objective(trials, i)
        shown = chosen(completed(of_one), MAX_HISTORY, objective)
        studies.append(stand_in(of_one, shown, [objective]))
    return {
        "optimization_history": Drawing(
            history(studies, objectives), _caption(len(shown), len(complete))
        ),
        "param_importances": Drawing(
            importances(stand_in(trials, complete, objectives), objectives),
            "PED-ANOVA (Watanabe et al. 2023): how far the best tenth of the complete trials"
            f" differs from all of them in each parameter.{_caution(len(complete))}",
        ),
    }


def _compare_in(
    trials: Sequence[FrozenTrial], objective: Objective, *, is_one_of_several: bool
) -> dict[str, Drawing]:
    """Draw parameters, if there are any, against the one objective that trials have values of."""
    complete = completed(trials)
    shown = chosen(complete, MAX_COMPARED, objective)
    n_params = len({name for trial in shown for name in trial.params})
    if n_params == 0:
        return {}
    study = stand_in(trials, shown, [objective])
    which = f" By {NAMES[objective]}, the first objective." if is_one_of_several else ""
    caption = _caption(len(shown), len(complete)) + which
    return {
        "parallel_coordinate": Drawing(
            parallel_coordinates(study, objective),
            f"{caption} From orange, the worst, to violet, the best.",
            AXIS_PX * (1 + n_params),
        ),
        "slice": Drawing(slices(study, objective), caption),
    }


def _draw_front(
    trials: Sequence[FrozenTrial], objectives: Sequence[Objective]
) -> dict[str, Drawing]:
    complete = completed(trials)
    front = {one.number for one in stand_in(trials, complete, objectives).best_trials}
    some = chosen(completed(of_objective(trials, 0)), MAX_COMPARED, objectives[0])
    numbers = front | {trial.number for trial in some}
    shown = [trial for trial in complete if trial.number in numbers]
    caption = f"{len(front):,} of {len(complete):,} complete trials are on the front."
    return {"pareto_front": Drawing(pareto_front(shown, front, objectives), caption)}


def draw_outcome(
    scores: Mapping[str, Scores],
    metrics: Mapping[str, Any],
    label_names: Sequence[str],
    task: Task,
) -> dict[str, Drawing]:
    """Draw what came out, by name of the figure; what calibration changed also as it was before."""
    test = scores["test"]
    drawings = {
        "label_precision": Drawing(label_precision(metrics, task)),
        "precision_recall": Drawing(precision_recall(test, label_names)),
        "calibration": Drawing(calibration(test, label_names)),
    }
    if task == "multiclass":
        drawings["confusion"] = Drawing(confusion(test, label_names))
    if is_calibrated(metrics["decisions"]):
        drawings["uncalibrated"] = Drawing(calibration(scores["uncalibrated"], label_names))
    return drawings


def _caption(n_shown: int, n_complete: int) -> str:
    if n_shown == n_complete:
        return f"All {n_complete:,} complete trials."
    return (
        f"{n_shown:,} of {n_complete:,} complete trials: the best, those that were the best"
        " when they ended, and others evenly spaced."
    )


def _caution(n_complete: int) -> str:
    """Say how little importance means where few trials are complete."""
    if n_complete >= FEW_COMPLETE:
        return ""
    n_best = ceil(n_complete / 10)
    return (
        f" That is little to go by: of {n_complete} complete trials the best tenth"
        f" {'is one' if n_best == 1 else f'are {n_best}'}, and another seed may well order the"
        f" parameters otherwise. It takes {FEW_COMPLETE} trials or more."
    )
