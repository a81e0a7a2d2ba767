"""Draw the figures of a report, few enough and small enough for a browser."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import plotly.graph_objects as go
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna.visualization import (
    plot_optimization_history,
    plot_parallel_coordinate,
    plot_param_importances,
    plot_pareto_front,
    plot_slice,
)

from orchestrator.figures import (
    TEMPLATE,
    budget_over_time,
    calibration,
    confusion,
    label_precision,
    learning_curves,
    precision_recall,
)
from orchestrator.scores import Scores
from shared.search.objectives import direction_of
from shared.sections import Objective
from shared.training.params import Task

INK = "#2b3037"
"""The colour of text on light paper; on dark paper the page turns figures over."""
NAMES: Mapping[Objective, str] = {
    "validation_loss": "validation loss",
    "ap_weighted": "weighted average precision",
    "ap_macro": "macro average precision",
    "n_parameters": "number of parameters",
    "latency_ms": "latency (ms)",
}
"""What the objectives are called on the page."""
N_AXES = 2
"""The objectives whose Pareto front can be drawn on paper."""
MIN_COMPLETE = 2
"""Complete trials that it takes to compare parameters."""
MAX_HISTORY = 1000
"""Trials in the optimisation history."""
MAX_COMPARED = 200
"""Trials in the parallel coordinates and the slices: a line or a dozen dots each."""
SLICE_PX = 170
"""The width of one slice."""


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

    Of several objectives, the first is drawn; of two, their Pareto front as well.
    """
    if len(objectives) > 1:
        of_first = draw_search([_with_first_value(t) for t in trials], n_trials, objectives[:1])
        return of_first | (_draw_front(trials, objectives) if len(objectives) == N_AXES else {})
    direction, value = direction_of(objectives[0]), NAMES[objectives[0]]
    drawings = {
        "budget_over_time": Drawing(budget_over_time(trials, n_trials)),
        "learning_curves": Drawing(learning_curves(trials, direction=direction)),
    }
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if len(complete) < MIN_COMPLETE:
        return drawings
    compared = chosen(complete, MAX_COMPARED, direction)
    few = _stand_in(trials, compared, [direction])
    caption = _caption(compared, complete)
    history = chosen(complete, MAX_HISTORY, direction)
    told = _stand_in(trials, history, [direction])
    with _quiet():
        drawings |= {
            "optimization_history": Drawing(
                _themed(plot_optimization_history(told, target_name=value)),
                _caption(history, complete),
            ),
            "param_importances": Drawing(
                _themed(_importances(_stand_in(trials, complete, [direction]), value)),
                "PED-ANOVA (Watanabe et al. 2023): how far the best tenth of the complete trials"
                " differs from all of them in each parameter.",
            ),
            "parallel_coordinate": Drawing(
                _themed(plot_parallel_coordinate(few, target_name=value)), caption, 900
            ),
            "slice": Drawing(
                _themed(plot_slice(few, target_name=value)),
                caption,
                SLICE_PX * len({name for trial in compared for name in trial.params}),
            ),
        }
    return drawings


def _draw_front(
    trials: Sequence[FrozenTrial], objectives: Sequence[Objective]
) -> dict[str, Drawing]:
    directions = [direction_of(objective) for objective in objectives]
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if not complete:
        return {}
    front = {trial.number for trial in _stand_in(trials, complete, directions).best_trials}
    of_first = [_with_first_value(trial) for trial in complete]
    shown = front | {t.number for t in chosen(of_first, MAX_COMPARED, directions[0])}
    told = _stand_in(trials, [t for t in complete if t.number in shown], directions)
    with _quiet():
        figure = plot_pareto_front(told, target_names=[NAMES[one] for one in objectives])
    caption = f"{len(front):,} of {len(complete):,} complete trials are on the front."
    return {"pareto_front": Drawing(_themed(figure), caption)}


def _with_first_value(trial: FrozenTrial) -> FrozenTrial:
    """Return the trial as a study of the first objective alone would have it."""
    if trial.values is None:
        return trial
    first = copy(trial)
    first.values = trial.values[:1]
    return first


def draw_outcome(
    scores: Mapping[str, Scores],
    metrics: Mapping[str, Any],
    label_names: Sequence[str],
    task: Task,
) -> dict[str, Drawing]:
    """Draw what came out, by name of the figure; what calibration changed also as it was before."""
    test, per_label = scores["test"], metrics["decisions"]["per_label"]
    drawings = {
        "label_precision": Drawing(label_precision(metrics)),
        "precision_recall": Drawing(precision_recall(test, label_names)),
        "calibration": Drawing(calibration(test, label_names)),
    }
    if task == "multiclass":
        drawings["confusion"] = Drawing(confusion(test, label_names))
    if any(one["calibration"] != "none" for one in per_label.values()):
        drawings["uncalibrated"] = Drawing(calibration(scores["uncalibrated"], label_names))
    return drawings


def chosen(complete: Sequence[FrozenTrial], n: int, direction: StudyDirection) -> list[FrozenTrial]:
    """Choose about `n` of the trials: the best half, each that was the best in its time, others.

    The others are spaced evenly. All are in their order.
    """
    if len(complete) <= n:
        return list(complete)
    sign = 1 if direction is StudyDirection.MINIMIZE else -1
    values = sign * np.array([trial.value for trial in complete], dtype=float)
    best = np.argsort(values, kind="stable")[: n // 2]
    records = np.flatnonzero(values == np.minimum.accumulate(values))[: n // 4]
    others = np.linspace(0, len(complete) - 1, n // 2).round().astype(np.int64)
    return [complete[i] for i in np.unique(np.concatenate([best, records, others]))]


def _stand_in(
    trials: Sequence[FrozenTrial],
    shown: Sequence[FrozenTrial],
    directions: Sequence[StudyDirection],
) -> Study:
    """Return a study of the trials to be shown; failed ones keep the others' numbers."""
    by_number = {trial.number: trial for trial in shown}
    study = optuna.create_study(directions=directions)
    failed = create_trial(state=TrialState.FAIL)
    study.add_trials(by_number.get(trial.number, failed) for trial in trials)
    return study


def _importances(study: Study, value: str) -> go.Figure:
    evaluator = PedAnovaImportanceEvaluator()
    figure = plot_param_importances(study, evaluator=evaluator, target_name=value)
    return figure.update_yaxes(title=None)


def _themed(figure: go.Figure) -> go.Figure:
    """Give a figure of Optuna's our fonts and margins, and the paper behind it."""
    return figure.update_layout(template=TEMPLATE, plot_bgcolor=None)


def _caption(shown: Sequence[FrozenTrial], complete: Sequence[FrozenTrial]) -> str:
    if len(shown) == len(complete):
        return f"All {len(complete):,} complete trials."
    return (
        f"{len(shown):,} of {len(complete):,} complete trials: the best, those that were the best"
        " when they ended, and others evenly spaced."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what Optuna remarks on studies with few trials."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
