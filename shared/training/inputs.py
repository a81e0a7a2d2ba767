"""Turn embeddings into what a head reads: some encoders' columns, normalised and standardised."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler

from shared.training.params import InputParams

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
"""Row numbers of the dataset, ascending."""
Fold = tuple[Rows, Rows]
"""The rows to train on, and the rows held out."""
Widths = Mapping[str, int]
"""How many columns each encoder's vectors have, by its name, in the order they lie side by side."""
CHUNK = 8192
"""Rows that are looked at together."""
LEAST_LENGTH = 1e-12
"""What a shorter vector is divided by, as Keras's UnitNormalization does."""
LEAST_DEVIATION = 1e-6
"""The share of the largest standard deviation below which a column counts as constant: float32
resolves no more. all-MiniLM-L6-v2 has three such, of deviations down to 1e-33."""


@dataclass(frozen=True, eq=False)
class Reading:
    """Say how (n, D) embeddings become the (n, d) inputs of a head.

    `blocks` are the columns of each encoder. `mean` and `deviation`, (d,) float32, are None where
    nothing is standardised.
    """

    blocks: tuple[slice, ...]
    l2_normalize: bool
    mean: Floats | None = None
    deviation: Floats | None = None

    def __call__(self, vectors: Floats) -> Floats:
        """Return the (n, d) float32 inputs of (n, D) float32 embeddings."""
        parts = [vectors[:, block] for block in self.blocks]
        if self.l2_normalize:
            parts = [part / _lengths(part) for part in parts]
        inputs = _side_by_side(parts)
        if self.mean is None or self.deviation is None:
            return inputs
        return (inputs - self.mean) / self.deviation


def find_reading(inputs: InputParams, widths: Widths, vectors: Floats, rows: Rows) -> Reading:
    """Find how (n, D) embeddings are read; the statistics are those of some rows.

    They are added up in float64 and in the order of the rows, so every process finds the same. A
    column that is constant there, but for rounding, is only centred: on other rows it need not be.
    """
    reading = Reading(tuple(blocks_of(inputs.encoders or widths, widths)), inputs.l2_normalize)
    if not inputs.standardize:
        return reading
    scaler = StandardScaler()
    for start in range(0, len(rows), CHUNK):
        scaler.partial_fit(reading(vectors[rows[start : start + CHUNK]]))
    deviation = np.sqrt(scaler.var_)
    deviation[deviation <= LEAST_DEVIATION * deviation.max()] = 1
    mean, deviation = (np.asarray(a, dtype=np.float32) for a in (scaler.mean_, deviation))
    return replace(reading, mean=mean, deviation=deviation)


def blocks_of(encoders: Iterable[str], widths: Widths) -> list[slice]:
    """Return the columns of some encoders' vectors among those of all."""
    stops = dict(zip(widths, np.cumsum(list(widths.values())).tolist(), strict=True))
    return [slice(stops[name] - widths[name], stops[name]) for name in encoders]


def columns_of(encoders: Iterable[str], widths: Widths, vectors: Floats) -> Floats:
    """Return some encoders' vectors, side by side, out of the (n, D) vectors of all."""
    return _side_by_side([vectors[:, block] for block in blocks_of(encoders, widths)])


def width_of(inputs: InputParams, widths: Widths) -> int:
    """Return how many columns a head reads."""
    return sum(widths[name] for name in inputs.encoders or widths)


def _side_by_side(parts: list[Floats]) -> Floats:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _lengths(vectors: Floats) -> Floats:
    """Return the (n, 1) Euclidean lengths of n vectors, none of them 0."""
    lengths: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return lengths.clip(min=LEAST_LENGTH)
