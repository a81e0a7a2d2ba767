"""Compute one gradient step of a pack of heads, and their losses: in keras.ops, for any backend.

Shapes: P slots, B rows a step, d inputs, L labels, n numbers of a head's row (see `layout`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from shared.training.dropout import dropout_keys, keep_mask, thresholds, unit_counters
from shared.training.layout import cuts_of, layers_of, parts_of, rows_of
from shared.training.network import (
    backward,
    cross_entropy,
    error_of,
    forward,
    forward_in_training,
)
from shared.training.optimizers import Moments, apply_gradients
from shared.training.params import Structure


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


class State(NamedTuple):
    """Hold what a step changes.

    `weights` (P, n) float32; `statistics` (P, s) float32, the moving averages of batch
    normalisation; `position` (P,) int32 in the slot's order; `step` (P,) int32, updates made.
    """

    weights: Any
    statistics: Any
    moments: Moments
    position: Any
    step: Any


class Gradient(NamedTuple):
    """Hold a batch's gradient, one array a part (see `layout.cuts_of`).

    `moved` are the moving statistics after the batch, an array a layer; `count` (P,) int32 its
    rows.
    """

    parts: list[Any]
    moved: list[Any]
    count: Any


def train_step(
    slots: Slots, data: Data, structure: Structure, widths: Any, n_batch: Any
) -> Callable[[State], State]:
    """Return the function that takes one step in each slot on the next rows of its order.

    `n_batch` is the largest batch size of the pack. Slots do not touch each other: each has a row
    of its own in the state. A slot at its end must be left as it is by the caller (`only_where`).
    """
    cuts = cuts_of(widths, structure)
    gradient_of = batch_gradient(slots, data, structure, widths, n_batch)
    rate, decay = (
        slots.learning_rate[:, None],
        slots.weight_decay[:, None] if structure.decays else None,
    )

    def step(state: State) -> State:
        parts = parts_of(state.weights, cuts)
        gradient = gradient_of(parts, state.statistics, state.position, state.step)
        weights, moments = apply_gradients(
            structure.optimizer,
            state.weights,
            rows_of(gradient.parts),
            state.moments,
            ops.cast(state.step + 1, "float32")[:, None],
            rate,
            decay,
        )
        statistics = rows_of(gradient.moved) if gradient.moved else state.statistics
        position = state.position + gradient.count
        return State(weights, statistics, moments, position, state.step + 1)

    return step


def batch_gradient(
    slots: Slots, data: Data, structure: Structure, widths: Any, n_batch: Any
) -> Callable[[list[Any], Any, Any, Any], Gradient]:
    """Return the function that finds the gradient of weights on the next rows of each order.

    It takes the weights in parts, statistics, position and step, as `State` has them. What is the
    same in all steps is computed here, once.
    """
    offsets = ops.arange(n_batch, dtype="int32")[None, :]
    rows_at = _row_lookup(slots.order)
    mask_of = _masks(slots.dropout, structure.n_layers, widths, n_batch)
    smoothing, gamma = slots.label_smoothing[:, None, None], slots.focal_gamma[:, None, None]
    n_labels = ops.cast(widths[-1], "float32")

    def gradient_of(parts: list[Any], statistics: Any, position: Any, step: Any) -> Gradient:
        count = ops.maximum(ops.minimum(slots.n_rows - position, slots.batch_size), 0)
        present = ops.cast(offsets < count[:, None], "float32")
        share = (present / ops.cast(ops.maximum(count, 1), "float32")[:, None])[:, :, None]
        rows = rows_at(position[:, None] + offsets)
        vectors = ops.cast(ops.take(data.vectors, rows, axis=0), "float32")
        labels = ops.take(data.labels, rows, axis=0)
        targets = labels + (0.5 - labels) * smoothing
        keys = dropout_keys(slots.seed, step, structure.n_layers)
        layers = layers_of(parts, statistics, widths, structure)
        masks = [mask_of(i, keys) for i in range(structure.n_layers)]
        logits, passes, moved = forward_in_training(layers, vectors, slots.activation, masks, share)
        error = error_of(structure.loss, targets, logits, gamma) * (share / n_labels)
        return Gradient(backward(layers, passes, error, share), moved, count)

    return gradient_of


def measure(
    weights: Any,
    statistics: Any,
    activation: Any,
    data: Data,
    rows: Any,
    present: Any,
    structure: Structure,
    widths: Any,
) -> tuple[Any, Any]:
    """Return each slot's summed loss over some rows, (P,), and its logits for them, (P, R, L).

    `rows` (P, R) int32; `present` (P, R) float32 is 0 where a row only fills up. The loss is binary
    cross-entropy, whatever a head is trained with, so that heads compare.
    """
    vectors = ops.cast(ops.take(data.vectors, rows, axis=0), "float32")
    labels = ops.take(data.labels, rows, axis=0)
    parts = parts_of(weights, cuts_of(widths, structure))
    logits = forward(layers_of(parts, statistics, widths, structure), vectors, activation)
    return ops.sum(ops.mean(cross_entropy(labels, logits), axis=-1) * present, axis=1), logits


def only_where(active: Any, new: State, old: State) -> State:
    """Return the new state of the active slots, (P,) booleans, and the old one of the others."""
    column = active[:, None]
    return State(
        ops.where(column, new.weights, old.weights),
        ops.where(column, new.statistics, old.statistics),
        Moments(*(ops.where(column, a, b) for a, b in zip(new.moments, old.moments, strict=True))),
        ops.where(active, new.position, old.position),
        ops.where(active, new.step, old.step),
    )


def _masks(rates: Any, n_layers: int, widths: Any, n_batch: Any) -> Callable[[int, Any], Any]:
    """Return the function that draws what dropout multiplies layer i by, from its step's keys."""
    counters = [unit_counters(n_batch, widths[i + 1]) for i in range(n_layers)]
    limits, scales = thresholds(rates), 1 / (1 - rates)

    def mask_of(layer: int, keys: Any) -> Any:
        kept = keep_mask(keys[:, layer], counters[layer], limits[:, layer])
        return ops.cast(kept, "float32") * scales[:, layer, None, None]

    return mask_of


def _row_lookup(order: Any) -> Callable[[Any], Any]:
    """Return the function that finds (P, B) positions in (P, n) orders; past the end: some row."""
    shape = ops.shape(order)
    first = ops.arange(shape[0], dtype="int32")[:, None] * shape[1]
    flat = ops.reshape(order, (-1,))
    return lambda positions: ops.take(flat, ops.minimum(positions, shape[1] - 1) + first, axis=0)
