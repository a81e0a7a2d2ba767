"""Measure how long a head takes for one row."""

import time

import numpy as np
import numpy.typing as npt

from shared.training.head import Weights
from shared.training.params import Activation, HeadParams

N_PASSES = 200
"""The quickest counts: a processor that does something else meanwhile makes others slower."""
EPSILON = 1e-3
"""What Keras's BatchNormalization adds to a variance."""


def latency_ms(params: HeadParams, weights: Weights) -> float:
    """Return the milliseconds of a forward pass of one row, to the logits, on this processor.

    It is NumPy's, on any backend: a framework's own overhead for a call, the same for every head,
    would hide what differs.
    """
    row = np.ones((1, weights[0].shape[0]), np.float32)
    times_s = []
    for _ in range(N_PASSES):
        started_s = time.perf_counter()
        forward(params, weights, row)
        times_s.append(time.perf_counter() - started_s)
    return 1000 * min(times_s)


def forward(
    params: HeadParams, weights: Weights, rows: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Compute a head's (n, L) logits for (n, d) rows; `weights` are as Keras has them."""
    remaining = iter(weights)
    for layer in params.layers:
        rows = rows @ next(remaining) + next(remaining)
        if params.batch_normalization:
            gamma, beta, mean, variance = (next(remaining) for _ in range(4))
            rows = (rows - mean) / np.sqrt(variance + EPSILON) * gamma + beta
        rows = _activate(rows, layer.activation)
    return np.asarray(rows @ next(remaining) + next(remaining))


def _activate(rows: npt.NDArray[np.float32], activation: Activation) -> npt.NDArray[np.float32]:
    if activation == "relu":
        return np.asarray(np.maximum(rows, 0))
    if activation == "swish":
        return np.asarray(rows / (1 + np.exp(-rows)))
    return rows
