"""Say how good a result is: by the figure that was asked for, beside what a sweep has to beat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.config.sections import Objective
from shared.training.params import Task

Figure = Literal["ap_weighted", "ap_macro", "accuracy"]
"""What results are compared by; accuracy is that of the most probable class."""
FIGURES: dict[Figure, str] = {
    "ap_weighted": "weighted average precision",
    "ap_macro": "macro average precision",
    "accuracy": "accuracy",
}
"""What each figure is called."""


@dataclass(frozen=True)
class Interval:
    """A value measured on the rows as they are, and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A figure by the names of scores, and by how much the first one exceeds the others.

    `p_values` say how likely a difference as far from 0 is where there is none.
    """

    figure: Figure
    n_resamples: int
    level: float
    values: dict[str, Interval]
    differences: dict[str, Interval]
    p_values: dict[str, float]


def figure_of(objective: Objective, task: Task) -> Figure:
    """Return what a study that is searched by this objective first is judged by."""
    match objective:
        case "ap_weighted" | "ap_macro":
            return objective
        case _:
            return "accuracy" if task == "multiclass" else "ap_weighted"


def read_comparison(metrics: Mapping[str, Any]) -> Comparison:
    """Return the comparison that metrics.json has, of `test` with the baselines."""
    found = metrics["comparison"]
    intervals = {
        part: {name: Interval(**one) for name, one in found[part].items()}
        for part in ("values", "differences")
    }
    return Comparison(**(found | intervals))


def headline(metrics: Mapping[str, Any]) -> list[str]:
    """Return the result in a line, and its difference to each baseline in one more."""
    compared = read_comparison(metrics)
    ours, name = compared.values["test"], FIGURES[compared.figure]
    name = name[0].upper() + name[1:]
    first = f"{name} on the test split: {ours.value:.4f} [{ours.low:.4f}, {ours.high:.4f}]"
    others = [
        f"Against {name_of_baseline(baseline, metrics)}: {one.value:+.4f}"
        f" [{one.low:+.4f}, {one.high:+.4f}], {verdict(one)}"
        for baseline, one in compared.differences.items()
    ]
    return [first, *others]


def name_of_baseline(baseline: str, metrics: Mapping[str, Any]) -> str:
    """Return what a baseline is called, logistic regression with its regularisation."""
    if baseline == "logistic_regression":
        return f"logistic regression ({metrics['regularisation']['description']})"
    return "a default head"


def verdict(difference: Interval) -> str:
    """Say whether the first is better, as far as these rows can tell."""
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "not told apart by these rows"
