"""Draw what a study found, as plotly figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState
from sklearn.metrics import precision_recall_curve

from orchestrator.scores import Scores

FADED = 0.25
"""The opacity of a trial that was pruned."""


def learning_curves(trials: Sequence[FrozenTrial], n_best: int | None = None) -> go.Figure:
    """Draw each trial's intermediate values, or those of the best complete trials only."""
    drawn = [trial for trial in trials if trial.intermediate_values]
    if n_best is not None:
        complete = [trial for trial in drawn if trial.state == TrialState.COMPLETE]
        drawn = sorted(complete, key=lambda trial: trial.values[0])[:n_best]
    lines = [
        go.Scatter(
            x=sorted(trial.intermediate_values),
            y=[trial.intermediate_values[step] for step in sorted(trial.intermediate_values)],
            name=f"trial {trial.number}",
            opacity=FADED if trial.state == TrialState.PRUNED else 1,
        )
        for trial in drawn
    ]
    return _figure(lines, "Learning curves", "epoch", "value")


def label_precision(metrics: Mapping[str, Any]) -> go.Figure:
    """Draw each label's average precision on the test split, beside logistic regression."""
    bars = [
        go.Bar(x=list(measured.keys()), y=list(measured.values()), name=name)
        for name, measured in (
            ("ensemble", metrics["test"]["per_label"]),
            ("logistic regression", metrics["logistic_regression"]["per_label"]),
        )
    ]
    return _figure(bars, "Average precision by label", "label", "average precision")


def precision_recall(scores: Scores, label_names: Sequence[str]) -> go.Figure:
    """Draw precision against recall of each label that some of the rows have."""
    lines = []
    for name, labels, said in zip(
        label_names, scores.labels.T, scores.probabilities.T, strict=True
    ):
        if labels.any():
            precision, recall, _ = precision_recall_curve(labels, said)
            lines.append(go.Scatter(x=recall, y=precision, name=name))
    return _figure(lines, "Precision and recall on the test split", "recall", "precision")


def budget_over_time(trials: Sequence[FrozenTrial], n_trials: int) -> go.Figure:
    """Draw how many trials had finished when, up to the budget."""
    finished = (TrialState.COMPLETE, TrialState.PRUNED)
    ends = sorted(
        trial.datetime_complete
        for trial in trials
        if trial.state in finished and trial.datetime_complete is not None
    )
    figure = _figure(
        [go.Scatter(x=ends, y=list(range(1, len(ends) + 1)), name="finished")],
        "Budget over time",
        "time",
        "finished trials",
    )
    figure.add_hline(y=n_trials, line_dash="dot")
    return figure


def _figure(traces: Sequence[Any], title: str, x: str, y: str) -> go.Figure:
    return go.Figure(traces, {"title": title, "xaxis": {"title": x}, "yaxis": {"title": y}})
