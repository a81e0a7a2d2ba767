"""Measure predictions: by average precision in the field's three averages, and as decisions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

from shared.training.params import Task


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision over labels: by number of positives, plain, and pooled; and of each.

    A label without a positive row has no average precision: it is None in `per_label` and left out
    of the averages.
    """

    ap_weighted: float
    ap_macro: float
    ap_micro: float
    per_label: dict[str, float | None]


def scores_of(logits: npt.NDArray[np.float32], task: Task) -> npt.NDArray[np.floating]:
    """Return what ranks rows as the probabilities of (n, L) logits do, label by label.

    The logits themselves, or for classes their softmax, in which what one has another lacks.
    """
    return softmax(logits.astype(np.float64), axis=1) if task == "multiclass" else logits


def average_precision(
    labels: npt.NDArray[np.float32], scores: npt.NDArray[np.floating], names: Sequence[str]
) -> AveragePrecision:
    """Measure (n, L) scores against (n, L) 0/1 labels.

    Average precision as scikit-learn defines it: sum of (R_i - R_{i-1}) P_i, not interpolated.
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.average_precision_score.html
    """
    support = labels.sum(axis=0)
    per_label = {
        name: float(average_precision_score(labels[:, i], scores[:, i])) if support[i] else None
        for i, name in enumerate(names)
    }
    measured = [value for value in per_label.values() if value is not None]
    if not measured:
        raise ValueError(f"at least one label must have a positive row, but none of {names} has.")
    return AveragePrecision(
        ap_weighted=float(np.average(measured, weights=support[support > 0])),
        ap_macro=float(np.mean(measured)),
        ap_micro=float(average_precision_score(labels.ravel(), scores.ravel())),
        per_label=per_label,
    )


def class_quality(
    labels: npt.NDArray[np.float32], probabilities: npt.NDArray[np.floating]
) -> dict[str, float]:
    """Measure the most probable classes of (n, C) probabilities: accuracy, and mean F1 of classes.

    A class that no row has nor gets is left out of the mean.
    """
    truth, said = labels.argmax(axis=1), probabilities.argmax(axis=1)
    return {
        "accuracy": float(accuracy_score(truth, said)),
        "f1_macro": float(f1_score(truth, said, average="macro")),
    }
