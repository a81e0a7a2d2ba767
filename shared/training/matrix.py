"""Hold embeddings on the host, and bring them to the device in each way that heads read them."""

from collections.abc import Sequence

import numpy as np

from shared.training.backends import current_backend
from shared.training.inputs import Floats, Reading, Rows, Widths, find_reading, width_of
from shared.training.params import InputParams
from shared.training.shards import MatrixDtype, Shards

DEVICE_SHARE = 0.5
"""The share of an accelerator's free memory that all inputs may take; heads need the rest."""
NO_ROWS: Rows = np.zeros(0, np.int64)


class Matrix:
    """Hold (n, D) float32 vectors, memory-mapped or not, and (n, L) float32 labels on the host."""

    def __init__(
        self,
        vectors: Floats,
        labels: Floats,
        dtype: MatrixDtype = "float32",
        max_bytes: int | None = None,
        *,
        widths: Widths | None = None,
        known_rows: Rows = NO_ROWS,
        inputs: Sequence[InputParams] = (InputParams(),),
    ) -> None:
        """Expect heads that read `inputs`, each of which may take its part of `max_bytes`.

        `dtype` is what they are kept in on the device; heads are trained in float32 all the same.
        `widths` are the encoders' columns, None for those of one; `known_rows` what inputs are
        standardised by. `max_bytes` None: what the accelerator has free allows; a CPU has no limit.
        """
        self._vectors, self._labels, self._dtype = vectors, labels, dtype
        self._widths: Widths = widths or {"": vectors.shape[1]}
        self._known_rows = known_rows
        self.n_inputs = max(self.width_of(one) for one in inputs)
        self.n_labels = labels.shape[1]
        if max_bytes is None:
            free = current_backend().free_bytes()
            max_bytes = None if free is None else int(free * DEVICE_SHARE)
        self._max_bytes = None if max_bytes is None else max_bytes // len(inputs)
        self._readings: dict[InputParams, Reading] = {}
        self._shards: dict[InputParams, Shards] = {}
        if max_bytes is not None:  # all at once, so that what is free then is the heads'
            for one in inputs:
                self.shards(one)

    def width_of(self, inputs: InputParams) -> int:
        """Return how many columns a head reads."""
        return width_of(inputs, self._widths)

    def reading(self, inputs: InputParams) -> Reading:
        """Return how the vectors become what a head reads."""
        if inputs not in self._readings:
            self._readings[inputs] = find_reading(
                inputs, self._widths, self._vectors, self._known_rows
            )
        return self._readings[inputs]

    def shards(self, inputs: InputParams) -> Shards:
        """Return what a head reads, brought to the device when the first one asks."""
        if inputs not in self._shards:
            self._shards[inputs] = Shards(
                self._vectors,
                self._labels,
                self.reading(inputs),
                self.width_of(inputs),
                self._dtype,
                self._max_bytes,
            )
        return self._shards[inputs]
