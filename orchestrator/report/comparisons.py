"""Draw how trials compare: in each objective, in their parameters, and in pairs of objectives."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations

import plotly.graph_objects as go
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial
from optuna.visualization import (
    plot_optimization_history,
    plot_parallel_coordinate,
    plot_param_importances,
    plot_slice,
)
from plotly.colors import sample_colorscale

from orchestrator.report.figures import COLOURS, FAINT, TEMPLATE
from orchestrator.report.panels import beside_each_other
from shared.config.sections import Objective

NAMES: Mapping[Objective, str] = {
    "validation_loss": "validation loss",
    "ap_weighted": "weighted average precision",
    "ap_macro": "macro average precision",
    "n_parameters": "number of parameters",
    "latency_ms": "latency (ms)",
}
"""What the objectives are called on the page."""
RAMP = ("#c8640a", "#b03a72", "#3a1a7a")
"""Colours from less to more, all of which can be told from white paper and, turned over, from
black: Optuna's own begin in white."""
COLOUR_BAR = {
    "orientation": "h",
    "title": {"text": "trial", "side": "top"},
    "thickness": 10,
    "lenmode": "pixels",
    "len": 220,
    "x": 0,
    "xanchor": "left",
    "xpad": 0,
    "y": 1,
    "yanchor": "bottom",
}
"""What RAMP means in the slices, above the first of them."""
BAR_PX = 18
"""The height of one bar of importance."""


def history(studies: Sequence[Study], objectives: Sequence[Objective]) -> go.Figure:
    """Draw the trials' values in their order, and the best so far; a study an objective."""
    pairs = zip(studies, objectives, strict=True)
    return beside_each_other([_history_of_one(study, NAMES[one]) for study, one in pairs])


def _history_of_one(study: Study, value: str) -> go.Figure:
    with _quiet():
        figure = plot_optimization_history(study, target_name=value)
    trials, best, *_ = figure.data  # then come those that break constraints, and there are none
    trials.update(name="trial", marker_color=COLOURS[0])
    best.update(name="best so far", line_color=COLOURS[1])
    return go.Figure([trials, best], figure.layout)


def importances(study: Study, objectives: Sequence[Objective]) -> go.Figure:
    """Draw how much each parameter matters, a bar an objective."""
    with _quiet():
        study.set_metric_names([NAMES[objective] for objective in objectives])
        figure = plot_param_importances(study, PedAnovaImportanceEvaluator())
    height_px = max(450, 150 + BAR_PX * sum(len(bars.y) for bars in figure.data))
    return _themed(figure).update_layout(height=height_px, showlegend=len(objectives) > 1)


def parallel_coordinates(study: Study, objective: Objective) -> go.Figure:
    """Draw each trial as a line through its value and its parameters."""
    with _quiet():
        figure = plot_parallel_coordinate(study, target_name=NAMES[objective])
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    is_least_best = study.direction is StudyDirection.MINIMIZE
    for line in lines:
        # Along each axis values are from 0 to 1; the first axis is the objective.
        goodness = 1 - line.y[0] if is_least_best else line.y[0]
        line.update(line_color=sample_colorscale(RAMP, goodness)[0], opacity=1)
    figure = _themed(go.Figure(lines, figure.layout))
    names = [NAMES[objective].replace(" ", "<br>"), *figure.layout.xaxis.ticktext[1:]]
    return figure.update_xaxes(
        ticktext=names,
        tickangle=0,
        ticklabeloverflow="allow",  # or the outer axes' names are left out
        range=(-0.6, len(names) - 0.4),
    )


def slices(study: Study, objective: Objective) -> go.Figure:
    """Draw the value against each parameter, a panel a parameter."""
    names = sorted({name for trial in study.get_trials(deepcopy=False) for name in trial.params})
    with _quiet():
        figures = [plot_slice(study, [name], target_name=NAMES[objective]) for name in names]
    for i, figure in enumerate(figures):
        figure.update_traces(
            marker={"colorscale": RAMP, "showscale": i == 0, "colorbar": COLOUR_BAR}
        )
    return beside_each_other(figures)


def pareto_front(
    trials: Sequence[FrozenTrial], front: set[int], objectives: Sequence[Objective]
) -> go.Figure:
    """Draw trials by each pair of objectives; those whose numbers are in `front` stand out."""
    pairs = combinations(range(len(objectives)), 2)
    return beside_each_other([_pair(trials, front, i, j, objectives) for i, j in pairs])


def _pair(
    trials: Sequence[FrozenTrial], front: set[int], i: int, j: int, objectives: Sequence[Objective]
) -> go.Figure:
    on_front = [trial for trial in trials if trial.number in front]
    others = [trial for trial in trials if trial.number not in front]
    figure = go.Figure()
    for name, shown, marker in (
        ("other trials", others, {"color": FAINT, "size": 6}),
        ("Pareto front", on_front, {"color": COLOURS[1], "size": 10}),
    ):
        figure.add_scatter(
            x=[trial.values[i] for trial in shown],
            y=[trial.values[j] for trial in shown],
            text=[f"trial {trial.number}" for trial in shown],
            name=name,
            mode="markers",
            marker=marker,
        )
    figure.update_xaxes(title_text=NAMES[objectives[i]])
    return figure.update_yaxes(title_text=NAMES[objectives[j]])


def _themed(figure: go.Figure) -> go.Figure:
    """Give a figure of Optuna's our fonts and margins, and the paper behind it."""
    return figure.update_layout(template=TEMPLATE, plot_bgcolor=None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what Optuna remarks on studies with few trials, and on its own new functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
