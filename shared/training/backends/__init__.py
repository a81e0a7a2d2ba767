"""Run the numeric core on the backend that Keras is on."""

import importlib
import os
from typing import Any, Protocol, cast

import keras

from shared.errors import InputError
from shared.keras_settings import BACKENDS
from shared.training.batches import Data, Slots
from shared.training.params import Structure
from shared.training.step import State

# Both read these when they first compute. Heads are small: on two cores a process a core beats
# threads by 1.4, and one process alone is a tenth faster. And sums are the same on any machine.
for _name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC"):
    os.environ.setdefault(_name, "1")
# Workers may share a GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


class Backend(Protocol):
    """Be a module that runs the numeric core: what differs between TensorFlow and JAX."""

    STEPS_PER_CALL: int
    """What a number of steps is rounded up to."""

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
        """Take n_steps steps, rounded up, in each slot that has rows left."""

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
        """Measure each slot on its rows; see `step.measure`."""

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
    return cast("Backend", importlib.import_module(f"{__name__}.{name}"))
