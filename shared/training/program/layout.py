"""Lay a head's weights out as one row of numbers, padded with zeros to the widths of its pack.

A row a head makes everything that is done to whole heads (keeping the best weights, moving in and
out of a slot) one operation on a matrix. Zero padding is exact: a unit without incoming and
outgoing weights is 0 under relu, linear and swish, gets no gradient either way, and stays 0. A
hidden layer that a head lacks is padding alone.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from keras import ops

from shared.training.head import Weights
from shared.training.params import Structure
from shared.training.program.network import Layer

Row = npt.NDArray[np.float32]


class Cut(NamedTuple):
    """Say where one part of a layer lies in a row: numbers `start` to `stop`, `height` by width."""

    start: Any
    stop: Any
    height: Any
    width: Any


def cuts_of(widths: Any, structure: Structure) -> list[Cut]:
    """Find each layer's kernel, bias, gamma and beta in a row, in this order.

    `widths` are the input's, the hidden layers' and the output's: numbers, or scalar tensors.
    """
    cuts = []
    start = 0
    for i in range(structure.n_layers + 1):
        for height in (widths[i], *[1] * _n_vectors(structure, i)):
            stop = start + height * widths[i + 1]
            cuts.append(Cut(start, stop, height, widths[i + 1]))
            start = stop
    return cuts


def parts_of(rows: Any, cuts: list[Cut]) -> list[Any]:
    """Cut (P, n) rows into parts: kernels (P, in, out), all others (P, 1, out)."""
    return [ops.reshape(rows[:, cut.start : cut.stop], (-1, cut.height, cut.width)) for cut in cuts]


def layers_of(parts: list[Any], statistics: Any, widths: Any, structure: Structure) -> list[Layer]:
    """Group parts by layer, each hidden one with its (P, 2, out) slice of the statistics."""
    remaining = iter(parts)
    layers = []
    start = 0
    for i in range(structure.n_layers + 1):
        own = [next(remaining) for _ in range(1 + _n_vectors(structure, i))]
        if _is_normalized(structure, i):
            stop = start + 2 * widths[i + 1]
            own.append(ops.reshape(statistics[:, start:stop], (-1, 2, widths[i + 1])))
            start = stop
        layers.append(Layer(*own))
    return layers


def rows_of(parts: list[Any]) -> Any:
    """Undo `parts_of`: (P, n) rows of parts."""
    n_slots = ops.shape(parts[0])[0]
    return ops.concatenate([ops.reshape(part, (n_slots, -1)) for part in parts], axis=1)


def to_rows(weights: Weights, widths: tuple[int, ...], structure: Structure) -> tuple[Row, Row]:
    """Lay out Keras's weights: the trained ones (n,), and the moving statistics (s,)."""
    trained, statistics = [], []
    n_own = (len(weights) - 2) // _n_arrays(structure)
    blank = [np.zeros((0, 0), np.float32), *[np.zeros(0, np.float32)] * (_n_arrays(structure) - 1)]
    remaining = iter([*weights[:-2], *blank * (structure.n_layers - n_own), *weights[-2:]])
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        trained.append(_padded(next(remaining), (n_in, n_out)))
        trained += [_padded(next(remaining), (n_out,)) for _ in range(_n_vectors(structure, i))]
        if _is_normalized(structure, i):
            statistics += [_padded(next(remaining), (n_out,)) for _ in range(2)]
    return _joined(trained), _joined(statistics)


def to_weights(
    trained: Row,
    statistics: Row,
    widths: tuple[int, ...],
    structure: Structure,
    own_widths: tuple[int, ...],
) -> Weights:
    """Undo `to_rows` for a head whose own widths are `own_widths`."""
    layers: list[Weights] = []
    numbers, moving = _Reader(trained), _Reader(statistics)
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        layers.append([numbers.take(n_in * n_out).reshape(n_in, n_out)])
        layers[-1] += [numbers.take(n_out) for _ in range(_n_vectors(structure, i))]
        if _is_normalized(structure, i):
            layers[-1] += [moving.take(n_out) for _ in range(2)]
    own_layers = [*layers[: len(own_widths) - 2], layers[-1]]
    return [
        array[:own_in, :own_out] if array.ndim == 2 else array[:own_out]  # noqa: PLR2004  a kernel
        for layer, (own_in, own_out) in zip(own_layers, pairwise(own_widths), strict=True)
        for array in layer
    ]


def n_parts(structure: Structure) -> int:
    """Count the parts of a row."""
    return sum(1 + _n_vectors(structure, i) for i in range(structure.n_layers + 1))


def n_trained(widths: tuple[int, ...], structure: Structure) -> int:
    """Count the numbers of a row."""
    return sum(
        (n_in + _n_vectors(structure, i)) * n_out
        for i, (n_in, n_out) in enumerate(pairwise(widths))
    )


class _Reader:
    """Read an array from its front to its back."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._at = 0

    def take(self, count: int) -> Row:
        self._at += count
        return self._row[self._at - count : self._at]


def _is_normalized(structure: Structure, layer: int) -> bool:
    return structure.batch_normalization and layer < structure.n_layers


def _n_vectors(structure: Structure, layer: int) -> int:
    """Count a layer's trained vectors: bias, and with batch normalisation gamma and beta."""
    return 3 if _is_normalized(structure, layer) else 1


def _n_arrays(structure: Structure) -> int:
    """Count Keras's arrays of a hidden layer."""
    return 6 if structure.batch_normalization else 2


def _padded(array: Row, shape: tuple[int, ...]) -> Row:
    missing = [(0, n - own) for n, own in zip(shape, array.shape, strict=True)]
    return np.pad(array, missing).ravel()


def _joined(arrays: list[Row]) -> Row:
    return np.concatenate([np.zeros(0, np.float32), *arrays])
