"""Update the weights of many heads as Keras's optimizers do, each head with rates of its own.

The rules and their constants are those of keras.optimizers
(https://keras.io/api/optimizers/), which know one learning rate for all.
"""

from typing import Any, NamedTuple

from keras import ops

from shared.training.params import Optimizer

BETA_1 = 0.9
BETA_2 = 0.999
EPSILON = 1e-7
_RHO = 0.9


class Moments(NamedTuple):
    """Hold what an optimizer remembers: two averages of weights' shape, and Nadam's product.

    An optimizer that does not need one of them leaves it as it is.
    """

    first: Any
    second: Any
    product: Any


def apply_gradients(
    optimizer: Optimizer,
    weights: Any,
    gradients: Any,
    moments: Moments,
    step: Any,
    learning_rate: Any,
    weight_decay: Any | None,
) -> tuple[Any, Moments]:
    """Return weights, (P, n) or of more axes, and moments after one step.

    `step` counts from 1. It, the product, `learning_rate` and `weight_decay` are float32 with 1 in
    place of all axes but the first; no `weight_decay` means that none decays.
    """
    change, moments = _RULES[optimizer](gradients, moments, step, learning_rate)
    if weight_decay is not None:
        weights = weights * (1 - weight_decay * learning_rate)
    return weights - change, moments


def _adam(g: Any, moments: Moments, step: Any, rate: Any) -> tuple[Any, Moments]:
    """Kingma & Ba 2015, "Adam: a method for stochastic optimization", section 2."""
    moments = _averages(g, moments)
    alpha = rate * ops.sqrt(1 - ops.power(BETA_2, step)) / (1 - ops.power(BETA_1, step))
    return moments.first * alpha / (ops.sqrt(moments.second) + EPSILON), moments


def _nadam(g: Any, moments: Moments, step: Any, rate: Any) -> tuple[Any, Moments]:
    """Dozat 2016, "Incorporating Nesterov momentum into Adam"."""
    now = BETA_1 * (1 - 0.5 * ops.power(0.96, step))
    following = BETA_1 * (1 - 0.5 * ops.power(0.96, step + 1))
    product = moments.product * now
    moments = _averages(g, moments)._replace(product=product)
    first = following * moments.first / (1 - product * following) + (1 - now) * g / (1 - product)
    second = moments.second / (1 - ops.power(BETA_2, step))
    return first * rate / (ops.sqrt(second) + EPSILON), moments


def _rmsprop(g: Any, moments: Moments, _step: Any, rate: Any) -> tuple[Any, Moments]:
    """Tieleman & Hinton 2012, Coursera lecture 6.5."""
    second = _RHO * moments.second + (1 - _RHO) * ops.square(g)
    return rate * g / ops.sqrt(second + EPSILON), moments._replace(second=second)


def _sgd(g: Any, moments: Moments, _step: Any, rate: Any) -> tuple[Any, Moments]:
    return rate * g, moments


def _averages(g: Any, moments: Moments) -> Moments:
    first = moments.first + (g - moments.first) * (1 - BETA_1)
    second = moments.second + (ops.square(g) - moments.second) * (1 - BETA_2)
    return moments._replace(first=first, second=second)


_RULES = {"adam": _adam, "adamw": _adam, "nadam": _nadam, "rmsprop": _rmsprop, "sgd": _sgd}
