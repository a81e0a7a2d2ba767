"""Follow one head in training on the host: which rows it has seen, and how well it does."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.training.inputs import Rows
from shared.training.params import HeadParams
from shared.training.schedule import Progress
from shared.training.snapshot import Snapshot

SHUFFLING = 1
"""What a seed is split by; first weights have 0."""


@dataclass(eq=False)
class Head:
    """Follow one head in training on the host; its weights lie in a slot on the device.

    `train_rows` and `valid_rows` are rows of the data. `order` are the rows of the pass under way,
    `position` how many of them it has seen, `step` its updates so far.
    """

    key: int
    params: HeadParams
    seed: int
    train_rows: Rows
    valid_rows: Rows
    progress: Progress = field(init=False)
    order: npt.NDArray[np.int32] = field(init=False)
    position: int = field(init=False, default=0)
    step: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Stand before the first epoch."""
        self.progress = Progress(float(np.float32(self.params.learning_rate)))
        self._rng = np.random.default_rng([self.seed, SHUFFLING])

    def begin(self, rows: Rows) -> None:
        """Shuffle the rows of the next pass."""
        self.order, self.position = self._rng.permutation(rows).astype(np.int32), 0

    def stop(self) -> None:
        """Leave out the pass that was begun."""
        self.position = len(self.order)

    def go_on_from(self, snapshot: Snapshot) -> None:
        """Stand where a snapshot was taken."""
        self.progress, self.order = snapshot.progress, snapshot.order
        self.position, self.step = snapshot.position, snapshot.step
        self._rng.bit_generator.state = snapshot.random

    @property
    def random(self) -> dict[str, Any]:
        """The state of the generator that shuffles."""
        return dict(self._rng.bit_generator.state)

    @property
    def steps_left(self) -> int:
        """The steps to the end of the pass."""
        return -((self.position - len(self.order)) // self.params.batch_size)
