"""Hold heads of one structure and one padded shape on the device, and train them together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from shared.training.backends import current_backend
from shared.training.head import Weights, initial_weights
from shared.training.inputs import Rows
from shared.training.params import InputParams, Structure
from shared.training.program.arrays import Arrays
from shared.training.program.batches import Data, Slots
from shared.training.program.layout import n_trained, to_rows, to_weights
from shared.training.program.network import ABSENT, ACTIVATIONS
from shared.training.program.optimizers import Moments
from shared.training.program.step import State
from shared.training.slot import Head
from shared.training.snapshot import Snapshot

ROWS_STEP = 1024
"""Room for rows comes in multiples of this, so that a fold a little longer needs no other shape."""
MEASURED_ROWS = 8192
"""Rows a forward pass when measuring: bounds memory, and costs nothing at this size."""
ENDED_TOGETHER = 16
"""Heads of a padded pack that are measured and begun anew together: those whose epoch ended are
few, and a program's shape must not depend on how many."""


@dataclass(frozen=True)
class Shape:
    """Name what the heads of a pack share: what they read, and what they are compiled for.

    That is structure, widths from input to output, rows a step.
    """

    inputs: InputParams
    structure: Structure
    widths: tuple[int, ...]
    n_batch: int


class Pack:
    """Train heads of one shape as one program; `slots[i]` is the head in row i of every array."""

    def __init__(self, shape: Shape, n_rows: int) -> None:
        """Start empty; a pass of a head has up to `n_rows` rows, or the pack makes more room."""
        self.shape = shape
        self.slots: list[Head | None] = []
        self._backend = current_backend()
        n_numbers = n_trained(shape.widths, shape.structure)
        n_statistics = 2 * sum(shape.widths[1:-1]) * shape.structure.batch_normalization
        self._arrays = Arrays(
            weights=np.zeros((1, n_numbers), np.float32),
            statistics=np.zeros((1, n_statistics), np.float32),
            first=np.zeros((1, n_numbers), np.float32),
            second=np.zeros((1, n_numbers), np.float32),
            product=np.ones((1, 1), np.float32),
            best=np.zeros((1, n_numbers), np.float32),
            best_statistics=np.zeros((1, n_statistics), np.float32),
            order=np.zeros((1, _room_for(n_rows)), np.int32),
        )
        self._slots: Slots | None = None

    @property
    def heads(self) -> list[Head]:
        """The heads in its slots."""
        return [head for head in self.slots if head is not None]

    def resize(self, capacity: int) -> None:
        """Have `capacity` slots; its heads, which must not be more, move to the first ones."""
        chosen = [slot for slot, head in enumerate(self.slots) if head is not None]
        heads: list[Head | None] = [self.slots[slot] for slot in chosen]
        n_free = capacity - len(chosen)
        self._slots = None
        self.slots = heads + [None] * n_free
        rows = np.array(chosen + [0] * n_free, dtype=np.int32)
        self._arrays = self._backend.take_rows(self._arrays, rows)

    def add(self, head: Head, snapshot: Snapshot | None = None) -> None:
        """Put a head into a free slot, with its first weights or those of a snapshot."""
        slot = self.slots.index(None)
        self.slots[slot] = head
        self._slots = None
        if snapshot is None:
            head.begin(head.train_rows)
        else:
            head.go_on_from(snapshot)
        self._make_room(head)
        order = self._padded_order(head)
        slots = np.array([slot], dtype=np.int32)
        if snapshot is None:
            widths = self.shape.widths
            first = initial_weights(head.params, widths[0], widths[-1], head.seed)
            fresh = [row[None] for row in (*self._rows_of(first), order)]
            self._arrays = self._backend.put_fresh(self._arrays, slots, *fresh)
            return
        weights, statistics = self._rows_of(snapshot.weights)
        best, best_statistics = self._rows_of(snapshot.best)
        kept = Arrays(
            weights=weights,
            statistics=statistics,
            first=self._rows_of(snapshot.first)[0],
            second=self._rows_of(snapshot.second)[0],
            product=np.full(1, snapshot.product, np.float32),
            best=best,
            best_statistics=best_statistics,
            order=order,
        )
        rows = Arrays(*(row[None] for row in kept))
        self._arrays = self._backend.put_rows(self._arrays, slots, rows)

    def snapshot(self, head: Head) -> Snapshot:
        """Return all that a head goes on from."""
        row = self._row(head)
        own = self._own_widths(head)

        def weights_of(trained: Any, statistics: Any) -> Weights:
            return to_weights(trained, statistics, self.shape.widths, self.shape.structure, own)

        return Snapshot(
            weights=weights_of(row.weights, row.statistics),
            first=weights_of(row.first, row.statistics),
            second=weights_of(row.second, row.statistics),
            best=weights_of(row.best, row.best_statistics),
            product=float(row.product[0]),
            order=head.order,
            position=head.position,
            step=head.step,
            progress=head.progress,
            random=head.random,
        )

    def remove(self, head: Head) -> None:
        """Free a head's slot."""
        self.slots[self.slots.index(head)] = None
        self._slots = None

    def begin(self, heads: Sequence[Head], rows: Sequence[Rows]) -> None:
        """Start some heads' next passes, each over some rows of the data."""
        for head, own in zip(heads, rows, strict=True):
            head.begin(own)
            self._make_room(head)
        n_together = self._n_together
        for start in range(0, len(heads), n_together):
            together = [*heads[start : start + n_together]]
            together += together[:1] * (n_together - len(together))
            slots = np.array([self.slots.index(head) for head in together], dtype=np.int32)
            orders = np.stack([self._padded_order(head) for head in together])
            (order,) = self._backend.put_rows((self._arrays.order,), slots, (orders,))
            self._arrays = self._arrays._replace(order=order)

    def train(self, data: Data, n_steps: int) -> None:
        """Take `n_steps` steps, or a few more, in each head that has rows left."""
        arrays, shape = self._arrays, self.shape
        state = self._backend.train(
            State(
                arrays.weights,
                arrays.statistics,
                Moments(arrays.first, arrays.second, arrays.product),
                self._column(lambda head: head.position, "int32"),
                self._column(lambda head: head.step, "int32"),
            ),
            self._describe(),
            data,
            shape.structure,
            shape.widths,
            shape.n_batch,
            n_steps,
        )
        self._arrays = Arrays(
            state.weights,
            state.statistics,
            *state.moments,
            arrays.best,
            arrays.best_statistics,
            arrays.order,
        )
        n_taken = self._backend.steps_taken(n_steps)
        for head in self.heads:
            steps = min(n_taken, head.steps_left)
            head.step += steps
            head.position = min(head.position + steps * head.params.batch_size, len(head.order))

    def losses(
        self, heads: Sequence[Head], data: Data, rows: Sequence[Rows]
    ) -> Callable[[], list[float]]:
        """Have each head's summed validation loss over some rows computed; call to wait for it."""
        n_together = self._n_together
        now = (self._arrays.weights, self._arrays.statistics)
        chunks = [
            self._evaluate(now, heads[start : start + n_together], data, rows[start:])
            for start in range(0, len(heads), n_together)
        ]

        def summed() -> list[float]:
            sums = [
                np.sum([np.asarray(ops.convert_to_numpy(total)) for total, _ in parts], axis=0)
                for parts in chunks
            ]
            return [float(value) for value in np.concatenate(sums)[: len(heads)]] if sums else []

        return summed

    def logits(self, head: Head, data: Data, rows: Rows) -> npt.NDArray[np.float32]:
        """Return the (len(rows), L) logits of a head with its best weights."""
        best = (self._arrays.best, self._arrays.best_statistics)
        parts = self._evaluate(best, [head], data, [rows])
        found = [np.asarray(ops.convert_to_numpy(logits))[0] for _, logits in parts]
        return np.concatenate(found)[: len(rows)]

    def keep_best(self, heads: Sequence[Head]) -> None:
        """Remember the weights of some heads as the best that they had."""
        if not heads:
            return
        chosen = np.isin(np.arange(len(self.slots)), [self.slots.index(head) for head in heads])
        arrays = self._arrays
        best, statistics = self._backend.replace_rows(
            (arrays.best, arrays.best_statistics), chosen, (arrays.weights, arrays.statistics)
        )
        self._arrays = arrays._replace(best=best, best_statistics=statistics)

    def best_weights(self, head: Head) -> Weights:
        """Return a head's best weights, as Keras has them."""
        row, shape = self._row(head), self.shape
        own = self._own_widths(head)
        return to_weights(row.best, row.best_statistics, shape.widths, shape.structure, own)

    @property
    def _n_together(self) -> int:
        """How many heads are begun and measured at a time."""
        return 1 if self._backend.exact_shapes() else min(ENDED_TOGETHER, len(self.slots))

    def _own_widths(self, head: Head) -> tuple[int, ...]:
        widths = self.shape.widths
        return (widths[0], *(layer.units for layer in head.params.layers), widths[-1])

    def _rows_of(self, weights: Weights) -> tuple[Any, Any]:
        return to_rows(weights, self.shape.widths, self.shape.structure)

    def _row(self, head: Head) -> Arrays:
        """Bring a head's row of every array to the host."""
        slot = np.array([self.slots.index(head)], dtype=np.int32)
        arrays = self._backend.take_rows(self._arrays, slot)
        return Arrays(*(np.asarray(ops.convert_to_numpy(array))[0] for array in arrays))

    def _make_room(self, head: Head) -> None:
        order = self._arrays.order
        missing = _room_for(len(head.order)) - order.shape[1]
        if missing > 0:
            self._arrays = self._arrays._replace(order=ops.pad(order, [(0, 0), (0, missing)]))

    def _padded_order(self, head: Head) -> npt.NDArray[np.int32]:
        padded = np.zeros(self._arrays.order.shape[1], np.int32)
        padded[: len(head.order)] = head.order
        return padded

    def _evaluate(
        self, weights: tuple[Any, Any], heads: Sequence[Head], data: Data, rows: Sequence[Rows]
    ) -> list[tuple[Any, Any]]:
        """Measure heads in chunks of their rows, filled up to as many heads of equal length."""
        n_slots = self._n_together
        slots = [self.slots.index(head) for head in heads]
        chosen = np.array(slots + [slots[0]] * (n_slots - len(heads)), dtype=np.int32)
        trained, statistics = self._backend.take_rows(weights, chosen)
        activation = self._describe().activation[chosen]
        longest = max(len(own) for own in rows[: len(heads)])
        width = longest if self._backend.exact_shapes() else _room_for(longest)
        width = min(width, MEASURED_ROWS)
        parts = []
        for start in range(0, longest, width):
            filled = np.zeros((n_slots, width), np.int32)
            present = np.zeros((n_slots, width), np.float32)
            for i in range(len(heads)):
                piece = rows[i][start : start + width]
                filled[i, : len(piece)], present[i, : len(piece)] = piece, 1
            shape = self.shape
            arrays = (trained, statistics, activation, data, filled, present)
            parts.append(self._backend.evaluate(*arrays, shape.structure, shape.widths))
        return parts

    def _describe(self) -> Slots:
        """Write down the heads as arrays; an empty slot has no rows."""
        if self._slots is None:
            self._slots = self._describe_fixed()
        return self._slots._replace(
            order=self._arrays.order,
            n_rows=self._column(lambda head: len(head.order), "int32"),
            learning_rate=self._column(lambda head: head.progress.learning_rate, "float32"),
        )

    def _describe_fixed(self) -> Slots:
        """Write down what of the heads does not change in training; the rest is None."""
        n_layers = self.shape.structure.n_layers

        def layers(value: Callable[[Any], float], absent: float, dtype: str) -> Any:
            def of(head: Head) -> list[float]:
                own = [value(layer) for layer in head.params.layers]
                return own + [absent] * (n_layers - len(own))

            return self._column(of, dtype)

        return Slots(
            order=None,
            n_rows=None,
            learning_rate=None,
            batch_size=self._column(lambda head: head.params.batch_size, "int32"),
            seed=self._column(lambda head: head.seed % 2**32, "uint32"),
            activation=layers(lambda o: ACTIVATIONS.index(o.activation), ABSENT, "int32"),
            dropout=layers(lambda layer: layer.dropout, 0.0, "float32"),
            weight_decay=self._column(lambda head: head.params.weight_decay, "float32"),
            label_smoothing=self._column(lambda head: head.params.label_smoothing, "float32"),
            focal_gamma=self._column(lambda head: head.params.focal_gamma, "float32"),
        )

    def _column(self, value: Callable[[Head], Any], dtype: str) -> npt.NDArray[Any]:
        """Return one value a slot, zeros in the empty ones."""
        blank = np.zeros_like(value(self.heads[0]))
        values = [blank if head is None else value(head) for head in self.slots]
        return np.array(values, dtype=dtype)


def _room_for(n_rows: int) -> int:
    return -(-n_rows // ROWS_STEP) * ROWS_STEP
