"""Fetch the rows that a step is taken on, and draw what dropout needs: for any backend.

Shapes: P slots, B rows a step, d inputs, L labels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from shared.training.params import Structure
from shared.training.program.dropout import dropout_keys
from shared.training.program.losses import smoothing_centre


class Data(NamedTuple):
    """Hold what all heads are trained on: (n, d) floats of any width, and (n, L) float32."""

    vectors: Any
    labels: Any


class Slots(NamedTuple):
    """Hold what a slot's head is and where it stands, constant during a call.

    `order` (P, n_train) int32 are rows of the data, `n_rows` (P,) int32 how many of them count.
    `batch_size` (P,) int32, `seed` (P,) uint32, `activation` (P, n_layers) int32 into ACTIVATIONS,
    `dropout` (P, n_layers) float32, all others (P,) float32.
    """

    order: Any
    n_rows: Any
    batch_size: Any
    seed: Any
    activation: Any
    dropout: Any
    learning_rate: Any
    weight_decay: Any
    label_smoothing: Any
    focal_gamma: Any


class Batch(NamedTuple):
    """Hold what a step is taken on: vectors (P, B, d) and targets (P, B, L), both float32.

    `share` (P, B, 1) is each row's weight, 0 for rows that only fill up; `count` (P,) int32 the
    rows that do not; `keys` what dropout draws with, see `dropout.dropout_keys`.
    """

    vectors: Any
    targets: Any
    share: Any
    count: Any
    keys: tuple[Any, Any]


def gathered_batches(
    slots: Slots, data: Data, structure: Structure, n_batch: Any
) -> Callable[[Any, Any], Batch]:
    """Return the function that fetches the batches at the slots' (P,) positions and steps."""
    offsets = ops.arange(n_batch, dtype="int32")[None, :]
    rows_at = _row_lookup(slots.order)
    smoothed = _smoothing(slots, data, structure)

    def batch_at(position: Any, step: Any) -> Batch:
        rows = rows_at(position[:, None] + offsets)
        vectors = ops.cast(ops.take(data.vectors, rows, axis=0), "float32")
        targets = smoothed(ops.take(data.labels, rows, axis=0))
        count = ops.maximum(ops.minimum(slots.n_rows - position, slots.batch_size), 0)
        share = _shares(count, offsets)
        return Batch(vectors, targets, share, count, _keys(slots, step, structure))

    return batch_at


def ordered_batches(
    slots: Slots,
    data: Data,
    structure: Structure,
    n_batch: Any,
    position: Any,
    step: Any,
    n_steps: Any,
) -> Callable[[Any], Batch]:
    """Do as `gathered_batches` for one slot alone, by the number of a step.

    Everything is fetched and drawn at once for the `n_steps` steps after the (1,) position and
    step, so that a batch is only slices.
    """
    numbers = ops.arange(n_steps, dtype="int32")
    positions = position + numbers * slots.batch_size
    count = ops.minimum(slots.n_rows - positions, slots.batch_size)
    offsets = ops.arange(n_batch, dtype="int32")[None, :]
    rows = ops.reshape(_row_lookup(slots.order)(positions[None, :, None] + offsets), (-1,))
    vectors = ops.take(data.vectors, rows, axis=0)
    smoothed = _smoothing(slots, data, structure)
    targets = smoothed(ops.take(data.labels, rows, axis=0)[None])[0]
    shares = _shares(count, offsets)
    keys = _keys(slots, step + numbers, structure)

    def batch_at(number: Any) -> Batch:
        first = number * n_batch
        rows, here = slice(first, first + n_batch), slice(number, number + 1)
        own = ops.cast(vectors[rows], "float32")
        drawn = (keys[0][here], keys[1][here])
        return Batch(own[None], targets[rows][None], shares[here], count[here], drawn)

    return batch_at


def _smoothing(slots: Slots, data: Data, structure: Structure) -> Callable[[Any], Any]:
    """Return the function that makes (P, B, L) targets of labels."""
    centre = smoothing_centre(structure.task, data.labels)
    return lambda labels: labels + (centre - labels) * slots.label_smoothing[:, None, None]


def _shares(count: Any, offsets: Any) -> Any:
    """Return the (n, B, 1) weights of the rows of n batches, of which the first `count` count."""
    present = ops.cast(offsets < count[:, None], "float32")
    return (present / ops.cast(ops.maximum(count, 1), "float32")[:, None])[:, :, None]


def _keys(slots: Slots, step: Any, structure: Structure) -> tuple[Any, Any]:
    return dropout_keys(slots.seed, step, structure.n_layers)


def _row_lookup(order: Any) -> Callable[[Any], Any]:
    """Return the function that finds (P, B) positions in (P, n) orders; past the end: some row."""
    shape = ops.shape(order)
    first = ops.arange(shape[0], dtype="int32")[:, None] * shape[1]
    flat = ops.reshape(order, (-1,))
    return lambda positions: ops.take(flat, ops.minimum(positions, shape[1] - 1) + first, axis=0)
