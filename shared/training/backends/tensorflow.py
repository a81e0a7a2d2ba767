"""Train and measure packs in TensorFlow graphs.

On a CPU a graph is traced once for each structure, with all widths unknown, and without XLA: that
is up to 17 times slower there for many shapes. On a GPU XLA compiles it for each shape of a pack.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from shared.gpu_memory import USABLE, memory_share, total_bytes
from shared.training.params import Structure
from shared.training.program.arrays import Arrays, SlotArrays, fresh_rows
from shared.training.program.batches import Data, Slots, ordered_batches
from shared.training.program.layout import cuts_of, n_parts, parts_of, rows_of
from shared.training.program.optimizers import BETA_1, BETA_2, EPSILON, Moments
from shared.training.program.step import (
    State,
    batch_gradient,
    in_parts,
    in_rows,
    measure,
    only_where,
    train_step,
)

_graphs: list[Any] = []

MAX_ROWS = 1 << 16
"""SlotArrays a call on a CPU: a head alone has a copy of them in its order."""
_IN_ORDER = "SINGLE_THREADED_EXECUTOR"
"""Runs one operation after the other: a step of a small head on a CPU is a quarter faster when no
executor looks for what could run beside."""


def steps_taken(n_steps: int) -> int:
    """Return how many steps `train` takes that is asked for some: as many."""
    return n_steps


def exact_shapes() -> bool:
    """Say whether a new width costs nothing, so that nothing needs to be padded."""
    return not _has_gpu()


def train(
    state: State,
    slots: Slots,
    data: Data,
    structure: Structure,
    widths: tuple[int, ...],
    n_batch: int,
    n_steps: int,
) -> State:
    """Take `n_steps` steps in each slot that has rows left."""
    if _has_gpu():
        graph = _compiled_training(structure, widths, n_batch)
        trained: State = graph(state, slots, data, tf.constant(n_steps))
        return trained
    graph = _training(structure, data.vectors.dtype, alone=slots.order.shape[0] == 1)
    fixed = (tf.constant(widths), tf.constant(n_batch))
    per_call = max(1, MAX_ROWS // n_batch)
    with tf.experimental.function_executor_type(_IN_ORDER):
        for first in range(0, n_steps, per_call):
            state = graph(state, slots, data, *fixed, tf.constant(min(per_call, n_steps - first)))
    return state


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
    arguments = (weights, statistics, activation, data, rows, present)
    if _has_gpu():
        measured: tuple[Any, Any] = _compiled_measuring(structure, widths)(*arguments)
    else:
        measured = _measuring(structure, data.vectors.dtype)(*arguments, tf.constant(widths))
    return measured


def take_rows(arrays: SlotArrays, rows: npt.NDArray[np.int32]) -> SlotArrays:
    """Return some rows of each of a tuple of arrays, again or not."""
    taken: SlotArrays = tf.nest.map_structure(lambda array: tf.gather(array, rows), arrays)
    return taken


def put_rows(arrays: SlotArrays, slots: npt.NDArray[np.int32], rows: SlotArrays) -> SlotArrays:
    """Return arrays with (n, ...) other rows in n slots."""

    def put(array: Any, new: Any) -> Any:
        # Where nothing is normalised there are no statistics, which TensorFlow cannot scatter.
        return tf.tensor_scatter_nd_update(array, slots[:, None], new) if new.shape[1] else array

    replaced: SlotArrays = tf.nest.map_structure(put, arrays, rows)
    return replaced


def put_fresh(
    arrays: Arrays, slots: npt.NDArray[np.int32], weights: Any, statistics: Any, order: Any
) -> Arrays:
    """Do as `put_rows` with `fresh_rows`."""
    return put_rows(arrays, slots, fresh_rows(weights, statistics, order))


def replace_rows(old: SlotArrays, chosen: npt.NDArray[np.bool_], new: SlotArrays) -> SlotArrays:
    """Return arrays with the new ones' chosen rows."""
    column = chosen[:, None]
    replaced: SlotArrays = tf.nest.map_structure(lambda a, b: tf.where(column, b, a), old, new)
    return replaced


def n_traces() -> int:
    """Count the graphs traced so far."""
    return sum(graph.experimental_get_tracing_count() for graph in _graphs)


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an error is the device's memory being too small."""
    return isinstance(error, tf.errors.ResourceExhaustedError)


def free_bytes() -> int | None:
    """Return the accelerator's free memory in bytes, or None when there is only a CPU."""
    if not _has_gpu():
        return None
    used = tf.config.experimental.get_memory_info("GPU:0")["current"]
    return int(total_bytes() * memory_share()) - int(used)


@functools.cache
def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _bound_memory() -> None:
    """Keep TensorFlow within this process's share of a GPU; it must not have computed yet."""
    if memory_share() < USABLE and _has_gpu():
        limit = tf.config.LogicalDeviceConfiguration(int(total_bytes() * memory_share()) >> 20)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.set_logical_device_configuration(gpu, [limit])


_bound_memory()


def _counted(graph: Any) -> Any:
    _graphs.append(graph)
    return graph


@functools.cache
def _training(structure: Structure, dtype: tf.DType, *, alone: bool) -> Any:
    fused = alone and structure.optimizer in {"adam", "adamw"}
    loop = _fused_adam(structure) if fused else functools.partial(_loop, structure, alone=alone)

    def train_any_widths(
        state: State, slots: Slots, data: Data, widths: Any, n_batch: Any, n_steps: Any
    ) -> State:
        return loop(state, slots, data, tf.unstack(widths), n_batch, n_steps)

    scalar = tf.TensorSpec([], tf.int32)
    widths = tf.TensorSpec([structure.n_layers + 2], tf.int32)
    signature = [_state_spec(), _slots_spec(structure), _data_spec(dtype), widths, scalar, scalar]
    return _counted(tf.function(train_any_widths, signature, autograph=False, jit_compile=False))


@functools.cache
def _measuring(structure: Structure, dtype: tf.DType) -> Any:
    def measure_any_widths(
        weights: Any,
        statistics: Any,
        activation: Any,
        data: Data,
        rows: Any,
        present: Any,
        widths: Any,
    ) -> tuple[Any, Any]:
        own = tf.unstack(widths)
        return measure(weights, statistics, activation, data, rows, present, structure, own)

    matrix = tf.TensorSpec([None, None])
    rows = tf.TensorSpec([None, None], tf.int32)
    widths = tf.TensorSpec([structure.n_layers + 2], tf.int32)
    activation = tf.TensorSpec([None, structure.n_layers], tf.int32)
    signature = [matrix, matrix, activation, _data_spec(dtype), rows, matrix, widths]
    return _counted(tf.function(measure_any_widths, signature, autograph=False, jit_compile=False))


@functools.cache
def _compiled_training(structure: Structure, widths: tuple[int, ...], n_batch: int) -> Any:
    def train_these_widths(state: State, slots: Slots, data: Data, n_steps: Any) -> State:
        return _loop(structure, state, slots, data, widths, n_batch, n_steps, alone=False)

    return _counted(tf.function(train_these_widths, autograph=False, jit_compile=True))


@functools.cache
def _compiled_measuring(structure: Structure, widths: tuple[int, ...]) -> Any:
    graph = functools.partial(measure, structure=structure, widths=widths)
    return _counted(tf.function(graph, autograph=False, jit_compile=True))


def _fused_adam(structure: Structure) -> Callable[..., State]:
    """Return the loop for a head alone that TensorFlow's own Adam updates in place.

    On a CPU the update's memory traffic is a third of a wide head's step; one operation that reads
    and writes each number once, and no copies of weights in and out of a row, save most of it.
    """
    blank = tf.zeros((1, 1, 1))
    variables = [
        [
            tf.Variable(blank, trainable=False, shape=[None, None, None])
            for _ in range(n_parts(structure))
        ]
        for _ in range(3)
    ]

    def train_alone(
        state: State, slots: Slots, data: Data, widths: Any, n_batch: Any, n_steps: Any
    ) -> State:
        cuts = cuts_of(widths, structure)
        for row, own in zip((state.weights, *state.moments[:2]), variables, strict=True):
            for part, variable in zip(parts_of(row, cuts), own, strict=True):
                variable.assign(part)
        batch_at = ordered_batches(
            slots, data, structure, n_batch, state.position, state.step, n_steps
        )
        gradient_of = batch_gradient(slots, structure, widths, n_batch)
        keep = 1 - slots.learning_rate[0] * slots.weight_decay[0]
        times = tf.cast(state.step + 1 + tf.range(n_steps), tf.float32)
        beta_1, beta_2 = tf.pow(BETA_1, times), tf.pow(BETA_2, times)

        def step(number: Any, statistics: Any, position: Any) -> tuple[Any, ...]:
            parts = [weight.read_value() for weight in variables[0]]
            gradient = gradient_of(parts, statistics, batch_at(number))
            # A weight that is still to be read when it is updated would be copied first.
            with tf.control_dependencies(gradient.parts):
                for weight, first, second, part in zip(*variables, gradient.parts, strict=True):
                    if structure.decays:
                        weight.assign(weight * keep)
                    tf.raw_ops.ResourceApplyAdam(
                        var=weight.handle,
                        m=first.handle,
                        v=second.handle,
                        beta1_power=beta_1[number],
                        beta2_power=beta_2[number],
                        lr=slots.learning_rate[0],
                        beta1=BETA_1,
                        beta2=BETA_2,
                        epsilon=EPSILON,
                        grad=part,
                    )
            moved = rows_of(gradient.moved) if gradient.moved else statistics
            return number + 1, moved, position + gradient.count

        start = (tf.constant(0), state.statistics, state.position)
        number, statistics, position = tf.while_loop(
            lambda number, *_: number < n_steps,
            step,
            start,
            shape_invariants=tf.nest.map_structure(lambda tensor: tensor.shape, start),
            parallel_iterations=1,
        )
        weights, first, second = (
            rows_of([variable.read_value() for variable in own]) for own in variables
        )
        moments = Moments(first, second, state.moments.product)
        return State(weights, statistics, moments, position, state.step + number)

    return train_alone


def _loop(
    structure: Structure,
    state: State,
    slots: Slots,
    data: Data,
    widths: Any,
    n_batch: Any,
    n_steps: Any,
    *,
    alone: bool,
) -> State:
    take_step = train_step(slots, data, structure, widths, n_batch)

    def step(number: Any, old: State) -> tuple[Any, State]:
        new = take_step(old)
        # A slot alone is never at its end: the caller counts its steps.
        state = new if alone else only_where(old.position < slots.n_rows, new, old)
        return number + 1, state

    start = (tf.constant(0), in_parts(state, structure, widths))
    _, trained = tf.while_loop(
        lambda number, _: number < n_steps,
        step,
        start,
        shape_invariants=tf.nest.map_structure(lambda tensor: tensor.shape, start),
        parallel_iterations=1,
    )
    return in_rows(trained)


def _state_spec() -> State:
    matrix, whole = tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int32)
    return State(matrix, matrix, Moments(matrix, matrix, tf.TensorSpec([None, 1])), whole, whole)


def _slots_spec(structure: Structure) -> Slots:
    whole, real = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None])
    return Slots(
        order=tf.TensorSpec([None, None], tf.int32),
        n_rows=whole,
        batch_size=whole,
        seed=tf.TensorSpec([None], tf.uint32),
        activation=tf.TensorSpec([None, structure.n_layers], tf.int32),
        dropout=tf.TensorSpec([None, structure.n_layers]),
        learning_rate=real,
        weight_decay=real,
        label_smoothing=real,
        focal_gamma=real,
    )


def _data_spec(dtype: tf.DType) -> Data:
    return Data(tf.TensorSpec([None, None], dtype), tf.TensorSpec([None, None]))
