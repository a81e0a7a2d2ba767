"""Gather what came out: how the ensemble was made, how good it is, and where it is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_fscore_support

from orchestrator.decisions.decide import take
from orchestrator.decisions.describe import is_calibrated
from orchestrator.evaluation.headline import Comparison, read_comparison
from orchestrator.evaluation.scores import Scores
from orchestrator.report.figures import SERIES

AVERAGES = ("ap_weighted", "ap_macro", "ap_micro", "accuracy", "f1_macro")
"""What is told of each of the scores, where it was measured."""
N_MISTAKES = 10
"""Mistakes told of each label."""
_NAMES = {
    "best": "the best trial's members",
    "top": "the best trials' members, in equal shares",
    "greedy": "greedy selection",
    "kernel": "the kernel machine alone",
}


@dataclass(frozen=True)
class Mistake:
    """Hold a wrong decision; rows count from 1 after the CSV's header, as in error messages."""

    row: int
    probability: float
    truth: bool
    text: str | None


@dataclass(frozen=True)
class LabelOutcome:
    """Hold what came out for one label or class, on the test rows.

    A class has no threshold. `ap` maps the names of SERIES to average precision, None without a
    positive row. `mistakes` are the most confident ones, the worst first; `n_mistakes` counts all.
    `remark` says why precision, recall or F1 is 0, None where none is.
    """

    name: str
    prevalence: float
    threshold: float | None
    precision: float
    recall: float
    f1: float
    ap: dict[str, float | None]
    n_mistakes: int
    mistakes: tuple[Mistake, ...]
    remark: str | None


@dataclass(frozen=True)
class Way:
    """Hold what one way of making the ensemble gives: the headline's figure, nested.

    That is out of fold, with each fold's shares chosen on the others.
    """

    name: str
    is_taken: bool
    nested: float


@dataclass(frozen=True)
class Made:
    """Hold how the ensemble was made: its teams' shares by their names; the ways, if several."""

    shares: dict[str, float]
    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Outcome:
    """Hold what came out.

    `comparison` is that of the headline's figure, by the names of SERIES; `averages` maps these to
    weighted, macro and micro average precision, and where there are classes to accuracy and macro
    F1 of the most probable ones. `regularisation` is that of logistic regression; `n_later` counts
    the trials that have finished since the ensemble was made; `decisions` are those of
    metrics.json.
    """

    n_test_rows: int
    comparison: Comparison
    regularisation: str
    averages: dict[str, dict[str, float]]
    labels: tuple[LabelOutcome, ...]
    made: Made
    decisions: dict[str, Any]
    n_later: int

    @property
    def is_calibrated(self) -> bool:
        """Whether the decisions changed any probability."""
        return is_calibrated(self.decisions)


def tell_outcome(
    scores: Mapping[str, Scores],
    metrics: Mapping[str, Any],
    label_names: Sequence[str],
    thresholds: Sequence[float] | None,
    texts: Sequence[str] | None,
    n_later: int,
) -> Outcome:
    """Compute what came out; `texts`, if given, are those of all rows of the data."""
    shown = {key: name for key, name in SERIES.items() if key in scores and key in metrics}
    decisions = take(scores["test"].probabilities, thresholds)
    return Outcome(
        n_test_rows=len(scores["test"].rows),
        comparison=_titled(read_comparison(metrics)),
        regularisation=metrics["regularisation"]["description"],
        averages={
            name: {key: metrics[series][key] for key in AVERAGES if key in metrics[series]}
            for series, name in shown.items()
        },
        labels=tuple(
            _tell_label(
                name,
                scores["test"],
                decisions[:, i],
                i,
                None if thresholds is None else float(thresholds[i]),
                {title: metrics[series]["per_label"][name] for series, title in shown.items()},
                texts,
            )
            for i, name in enumerate(label_names)
        ),
        made=tell_ways(metrics["ensemble"]),
        decisions=metrics["decisions"],
        n_later=n_later,
    )


def tell_ways(ensemble: Mapping[str, Any]) -> Made:
    """Gather how the ensemble was made, from its metrics."""
    shares = {_name_of(team["trial"]): team["share"] for team in ensemble["teams"] if team["share"]}
    ways = tuple(
        Way(
            name=_NAMES[way],
            is_taken=way == ensemble["source"],
            nested=found["nested"],
        )
        for way, found in ensemble.get("ways", {}).items()
    )
    return Made(shares, ways)


def _name_of(trial: int | None) -> str:
    return "the kernel machine" if trial is None else f"trial {trial}"


def _titled(compared: Comparison) -> Comparison:
    """Return a comparison by the names of SERIES."""
    return replace(
        compared,
        values={SERIES[name]: one for name, one in compared.values.items()},
        differences={SERIES[name]: one for name, one in compared.differences.items()},
        p_values={SERIES[name]: one for name, one in compared.p_values.items()},
    )


def _tell_label(
    name: str,
    scores: Scores,
    decisions: npt.NDArray[np.bool_],
    i: int,
    threshold: float | None,
    ap: dict[str, float | None],
    texts: Sequence[str] | None,
) -> LabelOutcome:
    labels, probabilities = scores.labels[:, i] > 0, scores.probabilities[:, i]
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, decisions, average="binary", zero_division=0.0
    )
    worst = _worst(labels, probabilities, decisions)
    return LabelOutcome(
        name=name,
        prevalence=float(labels.mean()),
        threshold=threshold,
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        ap=ap,
        n_mistakes=int((labels != decisions).sum()),
        mistakes=tuple(
            Mistake(
                row=int(scores.rows[place]) + 1,
                probability=float(probabilities[place]),
                truth=bool(labels[place]),
                text=None if texts is None else texts[scores.rows[place]],
            )
            for place in worst
        ),
        remark=_remark(labels, decisions),
    )


def _remark(labels: npt.NDArray[np.bool_], decisions: npt.NDArray[np.bool_]) -> str | None:
    n_with, n_given = int(labels.sum()), int(decisions.sum())
    if not n_with:
        return "no test row has it, so these rows do not tell how good it is"
    if not n_given:
        return f"no test row gets it, though {n_with:,} have it"
    if not (labels & decisions).any():
        rows = "row gets it, but is" if n_given == 1 else "rows get it, but are"
        return f"{n_given:,} test {rows} none of the {n_with:,} that have it"
    return None


def _worst(
    labels: npt.NDArray[np.bool_],
    probabilities: npt.NDArray[np.float32],
    decisions: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """Return the places of the wrong decisions whose probability is farthest from the truth."""
    wrong = np.flatnonzero(labels != decisions)
    distance = np.abs(probabilities[wrong] - labels[wrong])
    return wrong[np.argsort(-distance, kind="stable")[:N_MISTAKES]]
