"""Calibrate the probabilities of classes, of which a row has one: by one temperature for all."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from orchestrator.decisions.calibration import CLIP, TEMPERATURES, Floats, Folds, Method, choose


@dataclass(frozen=True)
class ClassCalibration:
    """Hold a temperature, 1 where there is no gain in one, and what it is believed for.

    `cross_fitted` is (n, C) float64, each row calibrated by what was fitted to other rows.
    """

    temperature: float
    cross_fitted: npt.NDArray[np.float64]


def calibrate_classes(
    labels: npt.NDArray[Any],
    probabilities: Floats,
    method: Method | Literal["auto"],
    folds: Folds,
) -> ClassCalibration:
    """Fit a temperature to (n, C) labels, one a row, and probabilities; `auto`: where it helps.

    Isotonic regression is for one label at a time: the configuration refuses it.
    """
    plain = probabilities.astype(np.float64)
    if method == "none":
        return ClassCalibration(1.0, plain)
    tempered = np.empty_like(plain)
    for held_out in folds:
        kept = np.delete(np.arange(len(labels)), held_out)
        temperature = fit_temperature(labels[kept], probabilities[kept])
        tempered[held_out] = temper(probabilities[held_out], temperature)
    losses: dict[Method, Floats] = {
        "none": log_loss(labels, plain),
        "temperature": log_loss(labels, tempered),
    }
    if method == "auto" and choose(losses) == "none":
        return ClassCalibration(1.0, plain)
    return ClassCalibration(fit_temperature(labels, probabilities), tempered)


def temper(probabilities: Floats, temperature: float) -> npt.NDArray[np.float64]:
    """Draw (n, C) probabilities of classes to each other, by a temperature above 1, or apart."""
    logits = np.log(np.clip(probabilities.astype(np.float64), *CLIP))
    tempered: npt.NDArray[np.float64] = softmax(logits / temperature, axis=1)
    return tempered


def fit_temperature(labels: npt.NDArray[Any], probabilities: Floats) -> float:
    """Fit the temperature of least log loss to (n, C) labels, one a row, and probabilities.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. The logarithms of the
    probabilities are the logits, but for a constant a row, which a softmax does not see.
    """

    def loss(log_temperature: float) -> float:
        tempered = temper(probabilities, float(np.exp(log_temperature)))
        return float(log_loss(labels, tempered).mean())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def log_loss(labels: npt.NDArray[Any], probabilities: Floats) -> npt.NDArray[np.float64]:
    """Return the log loss of each of (n, C) rows, in nats."""
    of_truth = np.sum(probabilities * (labels > 0), axis=1)
    losses: npt.NDArray[np.float64] = -np.log(np.maximum(of_truth, CLIP[0]))
    return losses
