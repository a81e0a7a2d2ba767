"""Describe a worker's task in values that travel: no connection, no open file."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shared.config import SweepConfig


@dataclass(frozen=True)
class WorkerSpec:
    """Say which study to work on; the storage URL may hold a password, so it is never shown."""

    storage_url: str = field(repr=False)
    study_name: str
    fingerprint: str
    label_names: tuple[str, ...]
    config: SweepConfig


@dataclass(frozen=True)
class SearchArrays:
    """Hold what every trial is trained on.

    `vectors` (n, d) float32, `labels` (n, L) float32 of 0 and 1, row numbers int64. Read-only:
    all workers of a node share one copy.
    """

    vectors: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    train_rows: npt.NDArray[np.int64]
    valid_rows: npt.NDArray[np.int64]
