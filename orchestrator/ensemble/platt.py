"""Turn the values of a regression into probabilities, by logistic regression on them.

Platt 1999, "Probabilistic outputs for support vector machines". Shapes: n rows, L labels.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, logit
from sklearn.linear_model import LogisticRegression

from shared.training.params import Task

Floats = npt.NDArray[np.float32]

_FREE = 1e6
"""The inverse of how little the two numbers a label are drawn to 0."""
_FARTHEST = 30.0
"""The bound of a class's offset: that of one without a row would go to minus infinity."""


def fit_platt(values: Floats, labels: Floats, task: Task) -> tuple[Floats, Floats]:
    """Return the (L,) slopes and offsets that turn (n, L) values into logits.

    Out of fold, values of a label without signal go down where it goes up, since the mean of the
    other rows does. A slope below 0 would turn the ranking of new rows upside down: it is 0 then,
    and each row has the label's share. Classes share one slope: a matrix of C x C numbers would
    learn few rows a class by heart.
    """
    if task == "multiclass":
        return _platt_of_classes(values, labels)
    fits = [_platt_of_label(*one) for one in zip(values.T, labels.T, strict=True)]
    slopes, offsets = np.array(fits, dtype=np.float32).T
    return slopes, offsets


def _platt_of_label(values: Floats, labels: Floats) -> tuple[float, float]:
    if labels.min() < labels.max():
        fit = LogisticRegression(C=_FREE).fit(values[:, None], labels)
        if fit.coef_[0, 0] > 0:
            return float(fit.coef_[0, 0]), float(fit.intercept_[0])
    return 0.0, float(logit((labels.sum() + 1) / (len(labels) + 2)))


def _platt_of_classes(values: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Minimise the log loss of one slope and an offset a class: a convex problem."""
    scores, truth = values.astype(np.float64), labels.astype(np.float64)

    def loss(numbers: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        log_likelihoods = log_softmax(scores * numbers[0] + numbers[1:], axis=1)
        excess = (np.exp(log_likelihoods) - truth) / len(truth)
        gradient = np.append((excess * scores).sum(), excess.sum(axis=0))
        return -float((truth * log_likelihoods).sum()) / len(truth), gradient

    n_classes = labels.shape[1]
    bounds = [(0, None), *[(-_FARTHEST, _FARTHEST)] * n_classes]
    start = np.append(1.0, np.zeros(n_classes))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return np.full(n_classes, found[0], np.float32), found[1:].astype(np.float32)
