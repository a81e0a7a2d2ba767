"""Train and measure packs in programs that XLA compiles, one for each shape of a pack."""

import functools
from typing import Any

import jax

from shared.training.batches import Data, Slots
from shared.training.params import Structure
from shared.training.step import State, measure, only_where, train_step

_traced: list[str] = []

STEPS_PER_CALL = 16
"""What a number of steps is rounded up to: a loop of known length needs no talk with the host."""


def exact_shapes() -> bool:
    """Say whether a new width costs nothing, so that nothing needs to be padded."""
    return False


def train(
    state: State,
    slots: Slots,
    data: Data,
    structure: Structure,
    widths: tuple[int, ...],
    n_batch: int,
    n_steps: int,
) -> State:
    """Take at least `n_steps` steps in each slot that has rows left."""
    trained = state
    for _ in range(0, n_steps, STEPS_PER_CALL):
        trained = _train(trained, slots, data, structure, widths, n_batch)
    return trained


@functools.partial(
    jax.jit, static_argnames=("structure", "widths", "n_batch"), donate_argnames="state"
)
def _train(
    state: State,
    slots: Slots,
    data: Data,
    structure: Structure,
    widths: tuple[int, ...],
    n_batch: int,
) -> State:
    _traced.append("train")
    take_step = train_step(slots, data, structure, widths, n_batch)

    def step(_: Any, old: State) -> State:
        return only_where(old.position < slots.n_rows, take_step(old), old)

    trained: State = jax.lax.fori_loop(0, STEPS_PER_CALL, step, state)
    return trained


@functools.partial(jax.jit, static_argnames=("structure", "widths"))
def evaluate(
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
    _traced.append("evaluate")
    return measure(weights, statistics, activation, data, rows, present, structure, widths)


def n_traces() -> int:
    """Count the programs compiled so far."""
    return len(_traced)


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an error is the device's memory being too small."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def free_bytes() -> int | None:
    """Return the accelerator's free memory in bytes, or None when there is only a CPU."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return None
    stats = device.memory_stats()
    return int(stats["bytes_limit"] - stats["bytes_in_use"])
