"""Train and measure packs in programs that XLA compiles, one for each shape of a pack."""

import functools
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from shared.training.params import Structure
from shared.training.program.arrays import Arrays, SlotArrays, fresh_rows
from shared.training.program.batches import Data, Slots
from shared.training.program.step import State, in_parts, in_rows, measure, only_where, train_step

STEPS_PER_CALL = 32
"""Steps of a call on a GPU: a loop of known length needs no talk with the host."""
_compiled = functools.partial(
    jax.jit,
    # To try Triton's kernels is four fifths of a compilation, and saves a wide pack's step 4 %.
    compiler_options={"xla_gpu_enable_triton_gemm": False},
)
_traced: list[str] = []


def steps_taken(n_steps: int) -> int:
    """Return how many steps `train` takes that is asked for some: full calls on a GPU."""
    return -(-n_steps // STEPS_PER_CALL) * STEPS_PER_CALL if _has_gpu() else n_steps


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
    """Take at least `n_steps` steps in each slot that has rows left.

    A GPU multiplies in TensorFloat-32 unless JAX_DEFAULT_MATMUL_PRECISION has another.
    """
    program = {"structure": structure, "widths": widths, "n_batch": n_batch}
    trained = state
    if _has_gpu():
        for _ in range(0, n_steps, STEPS_PER_CALL):
            trained = _train_on_gpu(trained, slots, data, STEPS_PER_CALL, **program)
    else:
        trained = _train(state, slots, data, n_steps, **program)
    return trained


def _steps(
    state: State,
    slots: Slots,
    data: Data,
    n_steps: Any,
    *,
    structure: Structure,
    widths: tuple[int, ...],
    n_batch: int,
) -> State:
    _traced.append("train")
    take_step = train_step(slots, data, structure, widths, n_batch)

    def step(_: Any, old: State) -> State:
        return only_where(old.position < slots.n_rows, take_step(old), old)

    start = in_parts(state, structure, widths)
    return in_rows(jax.lax.fori_loop(0, n_steps, step, start))


_PROGRAM = ("structure", "widths", "n_batch")
_train = _compiled(_steps, static_argnames=_PROGRAM, donate_argnames="state")
_train_on_gpu = _compiled(_steps, static_argnames=(*_PROGRAM, "n_steps"), donate_argnames="state")


@functools.partial(_compiled, static_argnames=("structure", "widths"))
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
    """Measure each slot on its rows, in float32; see `step.measure`."""
    _traced.append("evaluate")
    with jax.default_matmul_precision("highest"):
        return measure(weights, statistics, activation, data, rows, present, structure, widths)


@_compiled
def take_rows(arrays: SlotArrays, rows: npt.NDArray[np.int32]) -> SlotArrays:
    """Return some rows of each of a tuple of arrays, again or not."""
    taken: SlotArrays = jax.tree.map(lambda array: jax.numpy.take(array, rows, axis=0), arrays)
    return taken


@functools.partial(_compiled, donate_argnames="arrays")
def put_rows(arrays: SlotArrays, slots: npt.NDArray[np.int32], rows: SlotArrays) -> SlotArrays:
    """Return arrays with (n, ...) other rows in n slots; the old must not be used afterwards."""
    return _with_rows(arrays, slots, rows)


@functools.partial(_compiled, donate_argnames="arrays")
def put_fresh(
    arrays: Arrays, slots: npt.NDArray[np.int32], weights: Any, statistics: Any, order: Any
) -> Arrays:
    """Do as `put_rows` with `fresh_rows`, which are made on the device."""
    return _with_rows(arrays, slots, fresh_rows(weights, statistics, order))


def _with_rows(arrays: SlotArrays, slots: Any, rows: SlotArrays) -> SlotArrays:
    replaced: SlotArrays = jax.tree.map(lambda array, new: array.at[slots].set(new), arrays, rows)
    return replaced


@functools.partial(_compiled, donate_argnames="old")
def replace_rows(old: SlotArrays, chosen: npt.NDArray[np.bool_], new: SlotArrays) -> SlotArrays:
    """Return arrays with the new ones' chosen rows; the old must not be used afterwards."""
    column = chosen[:, None]
    replaced: SlotArrays = jax.tree.map(lambda a, b: jax.numpy.where(column, b, a), old, new)
    return replaced


def n_traces() -> int:
    """Count the programs compiled so far."""
    return len(_traced)


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an error is the device's memory being too small."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def free_bytes() -> int | None:
    """Return the accelerator's free memory in bytes, or None when there is only a CPU."""
    if not _has_gpu():
        return None
    stats = jax.local_devices()[0].memory_stats()
    return int(stats["bytes_limit"] - stats["bytes_in_use"])


@functools.cache
def _has_gpu() -> bool:
    return str(jax.local_devices()[0].platform) != "cpu"


def _keep_programs() -> None:
    """Compile a program once for all workers on a machine with a GPU, and all their sweeps.

    Unless JAX_COMPILATION_CACHE_DIR names another folder, it is in the user's cache.
    """
    config: Any = jax.config
    if _has_gpu() and config.jax_compilation_cache_dir is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        config.update("jax_compilation_cache_dir", str(cache / "tagsweep" / "xla"))
        config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


_keep_programs()
