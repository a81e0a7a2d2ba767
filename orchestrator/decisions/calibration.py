"""Bend the probabilities of one label so that they are the shares of rows that have it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

Method = Literal["none", "temperature", "isotonic"]
Floats = npt.NDArray[np.floating]
Folds = Sequence[npt.NDArray[np.int64]]
"""The places, of n rows, that are held out together; each is held out once."""

TEMPERATURES = (0.05, 20.0)
"""The bounds of a temperature: a label whose rows the scores part in two would have none."""
CLIP = (1e-30, 1 - 2**-24)
"""The bounds of a probability whose logarithm is taken; 1 - 2**-24 is float32's next below 1."""


@dataclass(frozen=True)
class Curve:
    """Map a label's probability to a calibrated one, strictly increasing.

    First it is drawn to 0.5 by the temperature, then taken along straight lines between knots
    (before, after) that begin at (0, 0) and end at (1, 1). The defaults change nothing.
    """

    method: Method = "none"
    temperature: float = 1.0
    knots: tuple[tuple[float, float], ...] = ((0.0, 0.0), (1.0, 1.0))

    def __call__(self, probabilities: Floats) -> npt.NDArray[np.float64]:
        """Calibrate (n,) probabilities."""
        values = probabilities.astype(np.float64)
        if self.method == "temperature":
            values = expit(logit(np.clip(values, *CLIP)) / self.temperature)
        before, after = np.transpose(self.knots)
        calibrated: npt.NDArray[np.float64] = np.interp(values, before, after)
        return calibrated


Fit = Callable[[npt.NDArray[Any], Floats], Curve]


def fit_temperature(labels: npt.NDArray[Any], probabilities: Floats) -> Curve:
    """Fit the temperature of least log loss to (n,) labels and probabilities.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2, for one label.
    """
    logits = logit(np.clip(probabilities.astype(np.float64), *CLIP))

    def loss(log_temperature: float) -> float:
        return float(log_loss(labels, expit(logits / np.exp(log_temperature))).mean())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return Curve("temperature", temperature=float(np.exp(found.x)))


def fit_isotonic(labels: npt.NDArray[Any], probabilities: Floats) -> Curve:
    """Fit centred isotonic regression to (n,) labels and probabilities.

    Isotonic regression gives steps; a step's value is put at the mean of its scores, and lines
    are drawn between, so that equal probabilities are those that were equal before, and the
    ranking stays (Oron & Flournoy 2017, "Centered Isotonic Regression", section 2). The labels
    are drawn from 0 and 1 as in Platt 1999, "Probabilistic Outputs for Support Vector Machines",
    section 2.2, so that no probability becomes 0 or 1.
    """
    positives = int((labels > 0).sum())
    low, high = 1 / (len(labels) - positives + 2), (positives + 1) / (positives + 2)
    values = probabilities.astype(np.float64)
    steps = IsotonicRegression().fit_transform(values, np.where(labels > 0, high, low))
    levels, step_of = np.unique(steps, return_inverse=True)
    centres = np.bincount(step_of, values) / np.bincount(step_of)
    inner = [
        (float(centre), float(level))
        for centre, level in zip(centres, levels, strict=True)
        if 0 < centre < 1
    ]
    return Curve("isotonic", knots=((0.0, 0.0), *inner, (1.0, 1.0)))


FITS: dict[Method, Fit] = {
    "none": lambda *_: Curve(),
    "temperature": fit_temperature,
    "isotonic": fit_isotonic,
}
"""How each method is fitted, the simplest first."""


def choose(losses: Mapping[Method, Floats]) -> Method:
    """Choose a method by its loss on each of n rows not fitted to; they come the simplest first.

    A method takes a simpler one's place if its loss is lower by more than a standard error of the
    rows' differences (Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3).
    """
    chosen, *others = losses
    for method in others:
        gains = losses[chosen] - losses[method]
        if gains.mean() > gains.std() / np.sqrt(len(gains)):
            chosen = method
    return chosen


def cross_fit(
    fit: Fit, labels: npt.NDArray[Any], probabilities: Floats, folds: Folds
) -> npt.NDArray[np.float64]:
    """Calibrate each of (n,) rows by a curve that was fitted to the other folds."""
    calibrated = np.empty(len(labels), dtype=np.float64)
    for held_out in folds:
        kept = np.delete(np.arange(len(labels)), held_out)
        calibrated[held_out] = fit(labels[kept], probabilities[kept])(probabilities[held_out])
    return calibrated


def log_loss(labels: npt.NDArray[Any], probabilities: Floats) -> npt.NDArray[np.float64]:
    """Return each row's log loss, in nats."""
    of_truth = np.where(labels > 0, probabilities, 1 - probabilities)
    return -np.log(np.maximum(of_truth, CLIP[0]))
