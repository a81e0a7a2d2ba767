"""Measure probabilities by how true they are, and decisions by F1."""

from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.decisions import class_calibration
from orchestrator.decisions.calibration import log_loss
from shared.training.params import Task

N_BINS = 15
"""Bins of the calibration error, as many as in Guo et al. 2017."""

Floats = npt.NDArray[np.floating]


def calibration_error(labels: npt.NDArray[Any], probabilities: Floats) -> float:
    """Return the expected calibration error of (n,) probabilities of one label.

    The mean distance between a bin's share of positive rows and its mean probability (Naeini et al.
    2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning"). Bins have equal numbers
    of rows, not equal widths (Nixon et al. 2019, "Measuring Calibration in Deep Learning"): a rare
    label has nearly all of its rows below 0.1.
    """
    order = np.argsort(probabilities, kind="stable")
    bins = np.array_split(order, min(N_BINS, len(order)))
    gaps = [abs(float(probabilities[rows].mean() - labels[rows].mean())) for rows in bins]
    return float(np.average(gaps, weights=[len(rows) for rows in bins]))


def trueness(labels: npt.NDArray[Any], probabilities: Floats, task: Task) -> dict[str, float]:
    """Measure (n, L) probabilities: calibration error, Brier score and log loss.

    Brier 1950, "Verification of forecasts expressed in terms of probability": the mean square of
    the difference to the truth, added up over classes, as there, from 0 to 2; for labels it is that
    of yes alone, from 0 to 1, and all three are means over the labels. The calibration error of
    classes is that of the most probable one, as in Guo et al. 2017.
    """
    if task == "multiclass":
        best = probabilities.argmax(axis=1)
        return {
            "ece": calibration_error(labels.argmax(axis=1) == best, probabilities.max(axis=1)),
            "brier": float(((probabilities - labels) ** 2).sum(axis=1).mean()),
            "log_loss": float(class_calibration.log_loss(labels, probabilities).mean()),
        }
    columns = list(zip(labels.T, probabilities.T, strict=True))
    return {
        "ece": float(np.mean([calibration_error(*column) for column in columns])),
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "log_loss": float(log_loss(labels, probabilities).mean()),
    }


def f1(labels: npt.NDArray[Any], decisions: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Measure (n, L) decisions: the mean of the labels' F1, and F1 of all decisions pooled.

    A label that no row has nor gets has no F1; the mean is over the others.
    """
    truth = labels > 0
    hits = (truth & decisions).sum(axis=0)
    sizes = truth.sum(axis=0) + decisions.sum(axis=0)
    told = sizes > 0
    return {
        "f1_macro": float(np.mean(2 * hits[told] / sizes[told])),
        "f1_micro": float(2 * hits.sum() / sizes.sum()),
    }
