"""Describe a worker's task in values that travel: no connection, no open file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shared.config.sweep import SweepConfig
from shared.store import Store
from shared.versions import versions

if TYPE_CHECKING:  # which imports pandas, and takes two seconds
    from shared.training.inputs import Fold


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker is to do; the storage URL may hold a password, so it is never shown.

    `store` holds its checkpoints, `study_uuid` tells it from all other studies that are kept there;
    `versions` are those that the study was begun with. `driver_id` is that of the driver whose pool
    the worker is in, None without one.
    """

    storage_url: str = field(repr=False)
    study_name: str
    fingerprint: str
    label_names: tuple[str, ...]
    config: SweepConfig
    store: Store
    study_uuid: str
    versions: Mapping[str, str] = field(default_factory=versions)
    driver_id: str | None = None


@dataclass(frozen=True)
class SearchArrays:
    """Hold what every trial is trained on.

    `vectors` (n, d) float32, `labels` (n, L) float32 of 0 and 1, row numbers int64. A trial is
    trained on its folds one after the other, and may be pruned in the first. The columns are those
    of each encoder's vectors, side by side; `widths` counts them, and is empty where there is one.
    Read-only: all workers of a node share one copy.
    """

    vectors: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    folds: "tuple[Fold, ...]"
    widths: tuple[int, ...] = ()

    def widths_by_name(self, config: SweepConfig) -> dict[str, int]:
        """Return how many columns each encoder's vectors have, by what the study calls it."""
        widths = self.widths or (self.vectors.shape[1],)
        return dict(zip(config.all_encoders, widths, strict=True))


def pool_worker_name(number: int) -> str:
    """Return the name of a pool's worker, which no other of the same driver has."""
    return f"worker-{number}"
