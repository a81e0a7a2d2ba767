"""Turn probabilities into decisions, as those told out of fold advise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orchestrator.decisions.calibration import (
    FITS,
    Curve,
    Folds,
    Method,
    choose,
    cross_fit,
    log_loss,
)
from orchestrator.decisions.class_calibration import calibrate_classes
from orchestrator.decisions.thresholds import (
    Cuts,
    best_f1,
    cuts_of,
    least_cost,
    most_precise,
    most_precision,
    most_recall,
)
from shared.config.sections import DecisionsConfig
from shared.training.params import Task

MIN_EXAMPLES = 10
"""Rows with a label, and without it, that anything is fitted to: ten an estimated number, as
Peduzzi et al. 1996 ask for, "A simulation study of the number of events per variable"."""
HALF = 0.5
"""The threshold that is best for true probabilities where all wrong decisions are equally bad."""


@dataclass(frozen=True)
class LabelDecision:
    """Hold what was decided for one label; `note` says what it did not get, and why.

    The threshold is one of calibrated probabilities; a class, which has none, has only the
    temperature of its curve, the same for all.
    """

    curve: Curve
    threshold: float | None
    note: str | None = None


@dataclass(frozen=True)
class Decisions:
    """Hold what was decided for L labels.

    `cross_fitted` is (n, L) float64, the out-of-fold probabilities that it was decided from, each
    row calibrated by what was fitted to other rows.
    """

    labels: tuple[LabelDecision, ...]
    cross_fitted: npt.NDArray[np.float64]

    @property
    def curves(self) -> tuple[Curve, ...]:
        """How each label's probability is calibrated."""
        return tuple(one.curve for one in self.labels)

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """From which calibrated probability on each label is given; classes have none."""
        found = tuple(one.threshold for one in self.labels if one.threshold is not None)
        return found or None


def decide(
    labels: npt.NDArray[np.float32],
    probabilities: npt.NDArray[np.float32],
    folds: Folds,
    config: DecisionsConfig,
    task: Task,
) -> Decisions:
    """Calibrate and choose thresholds on (n, L) labels, 0 or 1, and out-of-fold probabilities.

    A label with fewer than MIN_EXAMPLES rows with it, or without, is left as it is. Calibrations
    are compared by what those fitted to the other folds make of a fold's rows.

    The probabilities are those of single members, what is decided is applied to their mean, which
    is slightly less extreme: scores of the mean on rows that no member has seen are there only for
    the test rows, which nothing may be fitted to.

    Of classes the most probable one is the answer: they have no thresholds, and one temperature.
    """
    if task == "multiclass":
        return _decide_classes(labels, probabilities, folds, config)
    decided, cross_fitted = [], probabilities.astype(np.float64)
    for i, (truth, scores) in enumerate(zip(labels.T, probabilities.T, strict=True)):
        n_positive = int((truth > 0).sum())
        if min(n_positive, len(truth) - n_positive) < MIN_EXAMPLES:
            decided.append(_undecided(config, n_positive, len(truth)))
            continue
        candidates = {
            method: cross_fit(FITS[method], truth, scores, folds)
            for method in (FITS if config.calibration == "auto" else [config.calibration])
        }
        chosen = choose({method: log_loss(truth, said) for method, said in candidates.items()})
        cross_fitted[:, i] = candidates[chosen]
        curve = FITS[chosen](truth, scores)
        decided.append(LabelDecision(curve, *_threshold(cuts_of(truth, curve(scores)), config)))
    return Decisions(tuple(decided), cross_fitted)


def take(
    probabilities: npt.NDArray[np.floating], thresholds: Sequence[float] | None
) -> npt.NDArray[np.bool_]:
    """Decide on (n, L) probabilities: of labels by their thresholds, each by itself.

    Without thresholds they are those of classes, and the most probable one is it, the first of
    equal ones.
    """
    if thresholds is None:
        decisions = np.zeros(probabilities.shape, dtype=np.bool_)
        np.put_along_axis(decisions, probabilities.argmax(axis=1, keepdims=True), True, axis=1)
        return decisions
    return np.asarray(probabilities >= np.array(thresholds), dtype=np.bool_)


def _decide_classes(
    labels: npt.NDArray[np.float32],
    probabilities: npt.NDArray[np.float32],
    folds: Folds,
    config: DecisionsConfig,
) -> Decisions:
    found = calibrate_classes(labels, probabilities, config.calibration, folds)
    method: Method = "none" if found.temperature == 1 else "temperature"
    one = LabelDecision(Curve(method, found.temperature), threshold=None)
    return Decisions((one,) * labels.shape[1], found.cross_fitted)


def _undecided(config: DecisionsConfig, n_positive: int, n: int) -> LabelDecision:
    """Take the threshold that is best for true probabilities, given the costs, if there are any.

    Elkan 2001, "The Foundations of Cost-Sensitive Learning", equation 2.
    """
    threshold = HALF
    if config.threshold == "cost":
        both = config.false_positive_cost + config.false_negative_cost
        threshold = config.false_positive_cost / both
    note = (
        f"{n_positive} of {n} rows have it, and it takes {MIN_EXAMPLES} with and without:"
        f" not calibrated, and its threshold is {threshold:.3g}"
    )
    return LabelDecision(Curve(), threshold, note)


def _threshold(cuts: Cuts, config: DecisionsConfig) -> tuple[float, str | None]:
    """Return the threshold that the configuration asks for, and what is to be said of it."""
    floor = config.floor
    match config.threshold:
        case "half":
            return HALF, None
        case "f1":
            return best_f1(cuts), None
        case "recall":
            return most_precision(cuts, floor), None
        case "cost":
            return least_cost(cuts, config.false_positive_cost, config.false_negative_cost), None
        case "precision":
            threshold = most_recall(cuts, floor)
            if threshold is not None:
                return threshold, None
            note = f"no threshold reaches a precision of {floor:g}: it has the most precise one"
            return most_precise(cuts), note
