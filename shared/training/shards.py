"""Bring what heads read to the device: whole when it fits, else in shards one by one."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from keras import ops

from shared.training.inputs import Floats, Reading, Rows
from shared.training.program.batches import Data

MatrixDtype = Literal["float32", "float16", "bfloat16"]


class Shards:
    """Hold the inputs of all heads that read alike, and their labels."""

    def __init__(
        self,
        vectors: Floats,
        labels: Floats,
        reading: Reading,
        n_inputs: int,
        dtype: MatrixDtype,
        max_bytes: int | None,
    ) -> None:
        """Divide the rows into shards of at most `max_bytes` on the device, two at a time.

        `vectors` (n, D) float32 are what is read, `n_inputs` columns of them. None: all rows are
        one shard.
        """
        self._vectors, self._labels, self._dtype = vectors, labels, dtype
        self._reading = reading
        n_rows, n_labels = labels.shape
        n_bytes = n_rows * (n_inputs * np.dtype(_WIDTH[dtype]).itemsize + 4 * n_labels)
        # A shard is loaded while the one before is in use: two must fit.
        fits = max_bytes is None or n_bytes <= max_bytes
        n_shards = 1 if fits else -(-2 * n_bytes // max_bytes)
        self._bounds = np.linspace(0, n_rows, n_shards + 1).astype(np.int64)
        self._whole = self._load(0) if self.is_resident else None

    @property
    def is_resident(self) -> bool:
        """Say whether all rows are on the device at once."""
        return len(self._bounds) == 2  # noqa: PLR2004  the ends of one shard

    @property
    def n_shards(self) -> int:
        """Count the shards."""
        return len(self._bounds) - 1

    @property
    def whole(self) -> Data:
        """All rows, when they are on the device at once."""
        if self._whole is None:
            raise ValueError(f"The rows must be resident, but are in {self.n_shards} shards.")
        return self._whole

    def stream(self, shards: Sequence[int]) -> Iterator[tuple[int, Data]]:
        """Yield shards with their numbers, and load each while the one before is in use."""
        with ThreadPoolExecutor(1) as loader:
            loading = loader.submit(self._load, shards[0])
            for number, following in zip(shards, [*shards[1:], None], strict=True):
                data = loading.result()
                if following is not None:
                    loading = loader.submit(self._load, following)
                yield number, data

    def within(self, rows: Rows, shard: int) -> Rows:
        """Return those rows that lie in a shard, counted from its first."""
        start, stop = self._bounds[shard], self._bounds[shard + 1]
        local: Rows = rows[(rows >= start) & (rows < stop)] - start
        return local

    def _load(self, shard: int) -> Data:
        rows = slice(self._bounds[shard], self._bounds[shard + 1])
        inputs = np.asarray(self._reading(self._vectors[rows]), dtype=_WIDTH[self._dtype])
        return Data(
            self._to_device(inputs, self._dtype),
            self._to_device(np.asarray(self._labels[rows]), "float32"),
        )

    @staticmethod
    def _to_device(array: npt.NDArray[Any], dtype: str) -> Any:
        return ops.convert_to_tensor(array, dtype=dtype)


_WIDTH = {"float32": "float32", "float16": "float16", "bfloat16": "float16"}
