"""Run the numeric core on the backend that Keras is on."""

import os
from typing import Any, Protocol, cast

import keras
import numpy as np
import numpy.typing as npt

from shared.errors import InputError
from shared.keras_settings import BACKENDS
from shared.training.params import Structure
from shared.training.program.arrays import Arrays, SlotArrays
from shared.training.program.batches import Data, Slots
from shared.training.program.step import State

# Both read these when they first compute. Heads are small: on two cores a process a core beats
# threads by 1.4, and one process alone is a tenth faster. And sums are the same on any machine.
for _name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC"):
    os.environ.setdefault(_name, "1")


class Backend(Protocol):
    """Be a module that runs the numeric core: what differs between TensorFlow and JAX."""

    def steps_taken(self, n_steps: int) -> int:
        """Return how many steps `train` takes that is asked for some."""

    def exact_shapes(self) -> bool:
        """Say whether a new width costs nothing, so that nothing needs to be padded."""

    def train(
        self,
        state: State,
        slots: Slots,
        data: Data,
        structure: Structure,
        widths: tuple[int, ...],
        n_batch: int,
        n_steps: int,
    ) -> State:
        """Take n_steps steps, or a few more, in each slot that has rows left.

        What the state is made of must not be used afterwards.
        """

    def evaluate(
        self,
        weights: Any,
        statistics: Any,
        activation: Any,
        data: Data,
        rows: Any,
        present: Any,
        structure: Structure,
        widths: tuple[int, ...],
    ) -> tuple[Any, Any]:
        """Measure each slot on its rows, in float32; see `step.measure`."""

    def take_rows(self, arrays: SlotArrays, rows: npt.NDArray[np.int32]) -> SlotArrays:
        """Return some rows of each of a tuple of arrays, again or not."""

    def put_rows(
        self, arrays: SlotArrays, slots: npt.NDArray[np.int32], rows: SlotArrays
    ) -> SlotArrays:
        """Return arrays with (n, ...) other rows in n slots; the old must not be used afterwards.

        Where a slot is named twice, its rows must be the same.
        """

    def put_fresh(
        self,
        arrays: Arrays,
        slots: npt.NDArray[np.int32],
        weights: Any,
        statistics: Any,
        order: Any,
    ) -> Arrays:
        """Do as `put_rows` with `fresh_rows`, which are made on the device."""

    def replace_rows(
        self, old: SlotArrays, chosen: npt.NDArray[np.bool_], new: SlotArrays
    ) -> SlotArrays:
        """Return arrays with the new ones' chosen rows; the old must not be used afterwards."""

    def n_traces(self) -> int:
        """Count the programs traced so far."""

    def is_out_of_memory(self, error: Exception) -> bool:
        """Say whether an error is the device's memory being too small."""

    def free_bytes(self) -> int | None:
        """Return the accelerator's free memory in bytes, or None when there is only a CPU."""


def current_backend() -> Backend:
    """Return the module of Keras's backend; raise InputError when it is neither of the two."""
    name = keras.backend.backend()
    if name not in BACKENDS:
        raise InputError(f"Keras's backend must be {' or '.join(BACKENDS)}, but is {name!r}.")
    if name == "jax":
        from shared.training.backends import jax

        return cast("Backend", jax)
    from shared.training.backends import tensorflow

    return cast("Backend", tensorflow)
