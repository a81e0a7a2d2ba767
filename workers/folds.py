"""Measure a trial on one fold after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from shared.metrics import AveragePrecision

VALIDATION_LOSS = "validation_loss"


@dataclass(frozen=True)
class FoldOutcome:
    """Hold how a trial did on a fold: the epochs it took, and its value by name of objective."""

    epochs: int
    values: dict[str, float]


def outcome_of(epochs: int, best_loss: float, measured: AveragePrecision) -> FoldOutcome:
    """Put together what there is to say of a fold, at its best epoch."""
    values = {
        VALIDATION_LOSS: best_loss,
        "ap_weighted": measured.ap_weighted,
        "ap_macro": measured.ap_macro,
    }
    return FoldOutcome(epochs, values)


def mean_over(folds: Sequence[FoldOutcome], objective: str) -> float:
    """Return a trial's value: the mean of the folds'."""
    return fmean(fold.values[objective] for fold in folds)


def by_fold(folds: Sequence[FoldOutcome]) -> dict[str, list[float]]:
    """Return the values of the folds by name of objective, in order, for people to read."""
    names = folds[0].values if folds else ()
    return {name: [round(fold.values[name], 6) for fold in folds] for name in names}
