"""Draw a study and its result: from trials, metrics and scores to Plotly figures, no more."""

import html
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sklearn.metrics import average_precision_score, precision_recall_curve

from orchestrator.evaluation.scores import Scores
from shared.training.params import Task

MAX_CURVES = 300
"""Learning curves of an ending in one figure; the best of the complete, the latest of the rest."""
MAX_POINTS = 400
"""Points of one line; of a longer one as many are drawn, evenly spaced, both ends among them."""
N_BINS = 10
"""Bins of a calibration curve, each with as many rows."""
MIN_BIN_ROWS = 5
"""Rows that a bin needs to have a share worth drawing."""

SERIES = {
    "test": "ensemble",
    "logistic_regression": "logistic regression",
    "default_head": "default head",
}
"""How figures and tables call the scores on the test split, the first of them ours."""
COLOURS = ("#3b82f6", "#e8710a", "#12a37f", "#d6409f", "#8e6fd8", "#b58900", "#0fa3b1", "#e5484d")
"""Readable on white and on black, as all that follows."""
FAINT = "#8a8f98"
_GRID = "rgba(128, 128, 128, 0.25)"
_AXIS = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID, "automargin": True}
TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {"color": "#808080", "family": "system-ui, sans-serif"},
        "colorway": COLOURS,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "margin": {"l": 50, "r": 20, "t": 50, "b": 50},
        "legend": {"orientation": "h", "yanchor": "top", "y": -0.18, "x": 0},
        "hovermode": "closest",
        # Upright at the edge: optuna-dashboard's bar of tools lies over the titles otherwise.
        "modebar": {"orientation": "v", "bgcolor": "rgba(0, 0, 0, 0)", "color": FAINT},
    }
)


def learning_curves(
    trials: Sequence[FrozenTrial],
    n_best: int | None = None,
    direction: StudyDirection = StudyDirection.MINIMIZE,
) -> go.Figure:
    """Draw validation loss by epoch: of the `n_best` complete trials, or of all, pruned in grey.

    `direction` says which of the trials' values are the best.
    """
    sign = 1 if direction is StudyDirection.MINIMIZE else -1
    complete = sorted(
        (trial for trial in trials if trial.state is TrialState.COMPLETE),
        key=lambda trial: (sign * trial.values[0], trial.number),
    )
    figure = _figure("Learning curves", "epoch", "validation loss")
    if n_best is not None:
        for trial in complete[:n_best]:
            figure.add_scatter(**_curves([trial]), name=f"trial {trial.number}", mode="lines")
        return figure
    pruned = [trial for trial in reversed(trials) if trial.state is TrialState.PRUNED]
    for ending, shown, style in (
        ("pruned", pruned, {"color": FAINT, "width": 1}),
        ("complete", complete[1:], {"color": COLOURS[0], "width": 1}),
        ("best", complete[:1], {"color": COLOURS[1], "width": 3}),
    ):
        if not shown:
            continue
        name = _counted(ending, len(shown), MAX_CURVES)
        figure.add_scatter(**_curves(shown[:MAX_CURVES]), name=name, mode="lines", line=style)
    return figure


def label_precision(metrics: Mapping[str, Any], task: Task) -> go.Figure:
    """Draw each label's average precision by the ensemble and what it is compared with.

    `metrics` are as in metrics.json; a label without a positive row has no average precision.
    """
    ours = metrics["test"]["per_label"]
    measured = sorted(
        (name for name, value in ours.items() if value is not None), key=lambda name: ours[name]
    )
    kind = "class" if task == "multiclass" else "label"
    figure = _figure(f"Average precision by {kind}", "average precision", kind)
    shown = [(key, name) for key, name in SERIES.items() if key in metrics]
    for i, (key, name) in reversed(list(enumerate(shown))):
        figure.add_scatter(
            x=[metrics[key]["per_label"][label] for label in measured],
            y=[plain(label) for label in measured],
            name=name,
            mode="markers",
            marker={"size": 13 if i == 0 else 9, "color": COLOURS[i], "symbol": i},
        )
    figure.update_layout(
        height=220 + 26 * len(measured),
        margin={"t": 75},  # room for a title, and the legend below it
        legend={"traceorder": "reversed", "yanchor": "bottom", "y": 1},
    )
    return figure.update_yaxes(type="category")


def precision_recall(scores: Scores, label_names: Sequence[str]) -> go.Figure:
    """Draw precision against recall, a line a label; labels without a positive row have none."""
    figure = _figure("Precision and recall", "recall", "precision")
    for name, labels, probabilities in _by_label(scores, label_names):
        precision, recall, _ = precision_recall_curve(labels, probabilities)
        kept = _evenly(len(recall))
        average = average_precision_score(labels, probabilities)
        figure.add_scatter(
            x=recall[kept].round(4),
            y=precision[kept].round(4),
            name=f"{plain(name)} ({average:.2f})",
            mode="lines",
            line={"shape": "vh"},
        )
    figure.update_layout(height=_height(len(label_names)))
    return figure.update_xaxes(range=[0, 1]).update_yaxes(range=[0, 1.02])


def calibration(scores: Scores, label_names: Sequence[str]) -> go.Figure:
    """Draw the share of positive rows against the mean probability, a line a label.

    Rows go into bins of equal size by probability, as scikit-learn's `calibration_curve` does with
    the strategy `quantile`: https://scikit-learn.org/stable/modules/calibration.html
    """
    figure = _figure("Calibration", "mean probability", "share of positive rows")
    figure.add_scatter(
        x=[0, 1], y=[0, 1], name="perfect", mode="lines", line={"color": FAINT, "dash": "dot"}
    )
    for i, (name, labels, probabilities) in enumerate(_by_label(scores, label_names)):
        n_bins = max(1, min(N_BINS, len(labels) // MIN_BIN_ROWS))
        bins = np.array_split(np.argsort(probabilities, kind="stable"), n_bins)
        figure.add_scatter(
            x=[round(float(probabilities[rows].mean()), 4) for rows in bins],
            y=[round(float(labels[rows].mean()), 4) for rows in bins],
            name=plain(name),
            mode="lines+markers",
            line={"color": COLOURS[i % len(COLOURS)]},
        )
    figure.update_layout(height=_height(len(label_names)))
    return figure.update_xaxes(range=[0, 1]).update_yaxes(range=[0, 1.02])


def confusion(scores: Scores, label_names: Sequence[str]) -> go.Figure:
    """Draw which classes are taken for which: each true class's rows by most probable class."""
    n = len(label_names)
    truth, said = scores.labels.argmax(axis=1), scores.probabilities.argmax(axis=1)
    counts = np.bincount(truth * n + said, minlength=n * n).reshape(n, n)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [plain(name) for name in label_names]
    figure = _figure("Confusion", "most probable class", "true class")
    figure.add_heatmap(
        x=names,
        y=names,
        z=shares.round(4),
        text=counts,
        texttemplate="%{text}",
        colorscale=[[0, "rgba(59, 130, 246, 0)"], [1, COLOURS[0]]],
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "share of the true class"}},
    )
    figure.update_layout(height=200 + 34 * n)
    return figure.update_xaxes(type="category").update_yaxes(type="category", autorange="reversed")


def budget_over_time(trials: Sequence[FrozenTrial], n_trials: int) -> go.Figure:
    """Draw how many trials have finished, and how many of them were pruned, against the budget."""
    figure = _figure("Budget over time", "time", "trials")
    for name, states in (
        ("finished", (TrialState.COMPLETE, TrialState.PRUNED)),
        ("of them pruned", (TrialState.PRUNED,)),
    ):
        ends = _ends(trials, states)
        kept = _evenly(len(ends))
        figure.add_scatter(
            x=[ends[i] for i in kept],
            y=[int(i) + 1 for i in kept],
            name=name,
            mode="lines",
            line={"shape": "hv"},
        )
    budget = {"dash": "dot", "color": FAINT}
    figure.add_hline(n_trials, line=budget, annotation_text=f"budget: {n_trials}")
    return figure.update_yaxes(rangemode="tozero")


def plain(text: str) -> str:
    """Return a text as Plotly must be given it, to show its characters and read no markup."""
    return html.escape(text, quote=False)


def _figure(title: str, x: str, y: str) -> go.Figure:
    return go.Figure(
        layout={
            "template": TEMPLATE,
            "title": {"text": title},
            "xaxis": {"title": {"text": x}},
            "yaxis": {"title": {"text": y}},
        }
    )


def _curves(trials: Sequence[FrozenTrial]) -> dict[str, list[float | None]]:
    """Join the curves to one line with gaps: a trace each would take the browser too long."""
    x: list[float | None] = []
    y: list[float | None] = []
    for trial in trials:
        steps = sorted(trial.intermediate_values)
        kept = [steps[i] for i in _evenly(len(steps))]
        x += [*(step + 1 for step in kept), None]
        y += [*(round(trial.intermediate_values[step], 6) for step in kept), None]
    return {"x": x[:-1], "y": y[:-1]}


def _by_label(
    scores: Scores, label_names: Sequence[str]
) -> Iterator[tuple[str, npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Yield name, (n,) labels and (n,) probabilities of each label that has a positive row."""
    for i, name in enumerate(label_names):
        if scores.labels[:, i].any():
            yield name, scores.labels[:, i], scores.probabilities[:, i]


def _ends(trials: Sequence[FrozenTrial], states: Sequence[TrialState]) -> list[datetime]:
    return sorted(
        trial.datetime_complete
        for trial in trials
        if trial.state in states and trial.datetime_complete is not None
    )


def _evenly(n: int) -> npt.NDArray[np.int64]:
    """Choose up to MAX_POINTS of n places, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, MAX_POINTS)).round().astype(np.int64))


def _counted(name: str, n: int, n_most: int) -> str:
    """Say of how many trials the figure shows how many, where it does not show all."""
    return f"{name} ({n_most:,} of {n:,} drawn)" if n > n_most else f"{name} ({n:,})"


def _height(n_labels: int) -> int:
    """Return pixels that leave room for a legend of so many labels."""
    return 460 + 10 * max(0, n_labels - 8)
