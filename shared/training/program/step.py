"""Compute one gradient step of a pack of heads, and their losses: in keras.ops, for any backend.

Shapes: P slots, B rows a step, L labels, n numbers of a head's row (see `layout`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from shared.training.params import Structure
from shared.training.program.batches import Batch, Data, Slots, gathered_batches
from shared.training.program.dropout import keep_mask, thresholds, unit_numbers
from shared.training.program.layout import cuts_of, layers_of, parts_of, rows_of
from shared.training.program.losses import error_of, n_losses, row_losses
from shared.training.program.network import backward, forward, forward_in_training, gates_of
from shared.training.program.optimizers import Moments, apply_gradients


class State(NamedTuple):
    """Hold what a step changes.

    `weights` (P, n) float32; `statistics` (P, s) float32, the moving averages of batch
    normalisation; `position` (P,) int32 in the slot's order; `step` (P,) int32, updates made.
    Between the steps of a call weights and moments are lists of parts, see `in_parts`.
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


def in_parts(state: State, structure: Structure, widths: Any) -> State:
    """Cut weights and moments into the parts that are multiplied, one array each.

    A GPU's step is a third faster so than on rows, which it would cut and join in every step.
    """
    cuts = cuts_of(widths, structure)
    weights, first, second = (parts_of(rows, cuts) for rows in (state.weights, *state.moments[:2]))
    return state._replace(
        weights=weights, moments=Moments(first, second, state.moments.product[:, None])
    )


def in_rows(state: State) -> State:
    """Undo `in_parts`."""
    weights, first, second = map(rows_of, (state.weights, *state.moments[:2]))
    return state._replace(
        weights=weights, moments=Moments(first, second, state.moments.product[:, 0])
    )


def train_step(
    slots: Slots, data: Data, structure: Structure, widths: Any, n_batch: Any
) -> Callable[[State], State]:
    """Return the function that takes one step in each slot on the next rows of its order.

    `n_batch` is the largest batch size of the pack. Slots do not touch each other: each has a row
    of its own in every part of the state. A slot at its end must be left as it is by the caller
    (`only_where`).
    """
    batch_at = gathered_batches(slots, data, structure, n_batch)
    gradient_of = batch_gradient(slots, structure, widths, n_batch)
    rate = slots.learning_rate[:, None, None]
    decay = slots.weight_decay[:, None, None] if structure.decays else None

    def step(state: State) -> State:
        gradient = gradient_of(
            state.weights, state.statistics, batch_at(state.position, state.step)
        )
        number = ops.cast(state.step + 1, "float32")[:, None, None]
        updated = [
            apply_gradients(
                structure.optimizer,
                weight,
                part,
                Moments(first, second, state.moments.product),
                number,
                rate,
                decay,
            )
            for weight, part, first, second in zip(
                state.weights, gradient.parts, *state.moments[:2], strict=True
            )
        ]
        moments = [moments for _, moments in updated]
        return State(
            [weight for weight, _ in updated],
            rows_of(gradient.moved) if gradient.moved else state.statistics,
            Moments([m.first for m in moments], [m.second for m in moments], moments[0].product),
            state.position + gradient.count,
            state.step + 1,
        )

    return step


def batch_gradient(
    slots: Slots, structure: Structure, widths: Any, n_batch: Any
) -> Callable[[list[Any], Any, Batch], Gradient]:
    """Return the function that finds the gradient of weights on a batch.

    It takes the weights in parts, and statistics as `State` has them. What is the same in all
    steps is computed here, once.
    """
    mask_of = _masks(slots.dropout, structure.n_layers, widths, n_batch)
    gates = gates_of(slots.activation, structure)
    gamma = slots.focal_gamma[:, None, None]
    n_averaged = ops.cast(n_losses(structure.task, widths[-1]), "float32")

    def gradient_of(parts: list[Any], statistics: Any, batch: Batch) -> Gradient:
        layers = layers_of(parts, statistics, widths, structure)
        masks = [mask_of(i, batch.keys) for i in range(structure.n_layers)]
        logits, passes, moved = forward_in_training(
            layers, batch.vectors, gates, masks, batch.share
        )
        error = error_of(structure, batch.targets, logits, gamma) * (batch.share / n_averaged)
        return Gradient(backward(layers, passes, error, batch.share), moved, batch.count)

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

    `rows` (P, R) int32; `present` (P, R) float32 is 0 where a row only fills up. The loss is
    cross-entropy, whatever a head is trained with, so that heads compare.
    """
    vectors = ops.cast(ops.take(data.vectors, rows, axis=0), "float32")
    labels = ops.take(data.labels, rows, axis=0)
    parts = parts_of(weights, cuts_of(widths, structure))
    layers = layers_of(parts, statistics, widths, structure)
    logits = forward(layers, vectors, gates_of(activation, structure))
    return ops.sum(row_losses(structure.task, labels, logits) * present, axis=1), logits


def only_where(active: Any, new: State, old: State) -> State:
    """Return the new state, in parts, of the active slots, (P,) booleans, else the old one."""
    column = active[:, None]

    def chosen(new: list[Any], old: list[Any]) -> list[Any]:
        return [ops.where(column[:, None], *both) for both in zip(new, old, strict=True)]

    moments = Moments(
        chosen(new.moments.first, old.moments.first),
        chosen(new.moments.second, old.moments.second),
        ops.where(column[:, None], new.moments.product, old.moments.product),
    )
    return State(
        chosen(new.weights, old.weights),
        ops.where(column, new.statistics, old.statistics),
        moments,
        ops.where(active, new.position, old.position),
        ops.where(active, new.step, old.step),
    )


def _masks(
    rates: Any, n_layers: int, widths: Any, n_batch: Any
) -> Callable[[int, tuple[Any, Any]], Any]:
    """Return the function that draws what dropout multiplies layer i by, from its step's keys."""
    numbers = [unit_numbers(n_batch, widths[i + 1]) for i in range(n_layers)]
    limits, scales = thresholds(rates), 1 / (1 - rates)

    def mask_of(layer: int, keys: tuple[Any, Any]) -> Any:
        multiplier, offset = (key[:, layer] for key in keys)
        kept = keep_mask(multiplier, offset, numbers[layer], limits[:, layer])
        return ops.cast(kept, "float32") * scales[:, layer, None, None]

    return mask_of
