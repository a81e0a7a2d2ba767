"""Hold heads of one structure and one padded shape on the device, and train them together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from shared.training.backends import current_backend
from shared.training.batches import Data, Slots
from shared.training.head import Weights, initial_weights
from shared.training.inputs import Rows
from shared.training.layout import Row, n_trained, to_rows, to_weights
from shared.training.network import ACTIVATIONS
from shared.training.optimizers import Moments
from shared.training.params import HeadParams, InputParams, Structure
from shared.training.schedule import Progress
from shared.training.snapshot import Snapshot
from shared.training.step import State

SHUFFLING = 1
"""What a seed is split by; first weights have 0."""
ROWS_STEP = 1024
"""Room for rows comes in multiples of this, so that a fold a little longer needs no other shape."""
MEASURED_ROWS = 8192
"""Rows a forward pass when measuring: bounds memory, and costs nothing at this size."""
MEASURED_SHARE = 8
"""A pack measures this share of its slots at a time: those whose epoch ended are few."""


@dataclass(frozen=True)
class Shape:
    """Name what the heads of a pack share: what they read, and what they are compiled for.

    That is structure, widths from input to output, rows a step.
    """

    inputs: InputParams
    structure: Structure
    widths: tuple[int, ...]
    n_batch: int


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


class Pack:
    """Train heads of one shape as one program; `slots[i]` is the head in row i of every array."""

    def __init__(self, shape: Shape, n_rows: int) -> None:
        """Start empty; a pass of a head has up to `n_rows` rows, or the pack makes more room."""
        self.shape = shape
        self.slots: list[Head | None] = []
        self._backend = current_backend()
        n_numbers = n_trained(shape.widths, shape.structure)
        n_statistics = 2 * sum(shape.widths[1:-1]) * shape.structure.batch_normalization
        blank = ops.zeros((1, n_numbers))
        still = ops.zeros((1, n_statistics))
        count = ops.zeros((1,), dtype="int32")
        moments = Moments(blank, blank, ops.ones((1, 1)))
        self._state = State(blank, still, moments, count, count)
        self._best = (blank, still)
        self._order = ops.zeros((1, _room_for(n_rows)), dtype="int32")

    @property
    def heads(self) -> list[Head]:
        """The heads in its slots."""
        return [head for head in self.slots if head is not None]

    def resize(self, capacity: int) -> None:
        """Have `capacity` slots; its heads, which must not be more, move to the first ones."""
        chosen = [slot for slot, head in enumerate(self.slots) if head is not None]
        heads: list[Head | None] = [self.slots[slot] for slot in chosen]
        n_free = capacity - len(chosen)
        self.slots = heads + [None] * n_free
        rows = np.array(chosen + [0] * n_free, dtype=np.int32)
        state = self._state
        weights, statistics, *moments = (
            ops.take(array, rows, axis=0)
            for array in (state.weights, state.statistics, *state.moments)
        )
        self._state = State(weights, statistics, Moments(*moments), state.position, state.step)
        self._best = (ops.take(self._best[0], rows, axis=0), ops.take(self._best[1], rows, axis=0))
        self._order = ops.take(self._order, rows, axis=0)

    def add(self, head: Head, snapshot: Snapshot | None = None) -> None:
        """Put a head into a free slot, with its first weights or those of a snapshot."""
        slot = self.slots.index(None)
        self.slots[slot] = head
        widths, structure = self.shape.widths, self.shape.structure
        if snapshot is None:
            first = initial_weights(head.params, widths[0], widths[-1], head.seed)
            weights, statistics = to_rows(first, widths, structure)
            blank = np.zeros_like(weights)
            rows = [weights, statistics, blank, blank, np.ones(1, np.float32)]
        else:
            weights, statistics = to_rows(snapshot.weights, widths, structure)
            moments = (to_rows(m, widths, structure)[0] for m in (snapshot.first, snapshot.second))
            rows = [weights, statistics, *moments, np.full(1, snapshot.product, np.float32)]
            best = to_rows(snapshot.best, widths, structure)
            self._best = (
                _with_row(self._best[0], slot, best[0]),
                _with_row(self._best[1], slot, best[1]),
            )
        state = self._state
        arrays = (state.weights, state.statistics, *state.moments)
        new = [_with_row(array, slot, row) for array, row in zip(arrays, rows, strict=True)]
        self._state = state._replace(weights=new[0], statistics=new[1], moments=Moments(*new[2:]))
        if snapshot is None:
            self.begin(head, head.train_rows)
        else:
            head.go_on_from(snapshot)
            self._put_order(head)

    def snapshot(self, head: Head) -> Snapshot:
        """Return all that a head goes on from."""
        slot, moments = self.slots.index(head), self._state.moments
        return Snapshot(
            weights=self._own_weights(head, self._state.weights, self._state.statistics),
            first=self._own_weights(head, moments.first, self._state.statistics),
            second=self._own_weights(head, moments.second, self._state.statistics),
            best=self._own_weights(head, *self._best),
            product=float(ops.convert_to_numpy(moments.product[slot])[0]),
            order=head.order,
            position=head.position,
            step=head.step,
            progress=head.progress,
            random=head.random,
        )

    def remove(self, head: Head) -> None:
        """Free a head's slot."""
        self.slots[self.slots.index(head)] = None

    def begin(self, head: Head, rows: Rows) -> None:
        """Start a head's next pass, over some rows of the data."""
        head.begin(rows)
        self._put_order(head)

    def train(self, data: Data, n_steps: int) -> None:
        """Take `n_steps` steps, or a few more, in each head that has rows left."""
        slots = self._describe()
        state = self._state._replace(
            position=self._column(lambda head: head.position, "int32"),
            step=self._column(lambda head: head.step, "int32"),
        )
        shape = self.shape
        self._state = self._backend.train(
            state, slots, data, shape.structure, shape.widths, shape.n_batch, n_steps
        )
        n_taken = -(-n_steps // self._backend.STEPS_PER_CALL) * self._backend.STEPS_PER_CALL
        for head in self.heads:
            steps = min(n_taken, head.steps_left)
            head.step += steps
            head.position = min(head.position + steps * head.params.batch_size, len(head.order))

    def losses(self, heads: Sequence[Head], data: Data, rows: Sequence[Rows]) -> list[float]:
        """Return each head's summed validation loss over some rows of the data."""
        n_together = max(1, len(self.slots) // MEASURED_SHARE)
        totals: list[float] = []
        for start in range(0, len(heads), n_together):
            stop = start + n_together
            now = (self._state.weights, self._state.statistics)
            parts = self._evaluate(now, heads[start:stop], data, rows[start:stop], n_together)
            sums = np.sum([np.asarray(ops.convert_to_numpy(total)) for total, _ in parts], axis=0)
            totals += [float(value) for value in sums[: len(heads) - start]]
        return totals

    def logits(self, head: Head, data: Data, rows: Rows) -> npt.NDArray[np.float32]:
        """Return the (len(rows), L) logits of a head with its best weights."""
        parts = self._evaluate(self._best, [head], data, [rows], 1)
        found = [np.asarray(ops.convert_to_numpy(logits))[0] for _, logits in parts]
        return np.concatenate(found)[: len(rows)]

    def keep_best(self, heads: Sequence[Head]) -> None:
        """Remember the weights of some heads as the best that they had."""
        if not heads:
            return
        chosen = np.array([[head in heads] for head in self.slots])
        now = (self._state.weights, self._state.statistics)
        weights, statistics = (
            ops.where(chosen, new, old) for new, old in zip(now, self._best, strict=True)
        )
        self._best = (weights, statistics)

    def best_weights(self, head: Head) -> Weights:
        """Return a head's best weights, as Keras has them."""
        return self._own_weights(head, *self._best)

    def _own_weights(self, head: Head, trained: Any, statistics: Any) -> Weights:
        """Cut a head's own part out of rows of its pack's, as Keras has them."""
        slot, widths = self.slots.index(head), self.shape.widths
        rows = [np.asarray(ops.convert_to_numpy(array[slot])) for array in (trained, statistics)]
        own = (widths[0], *(layer.units for layer in head.params.layers), widths[-1])
        return to_weights(rows[0], rows[1], widths, self.shape.structure, own)

    def _put_order(self, head: Head) -> None:
        missing = _room_for(len(head.order)) - self._order.shape[1]
        if missing > 0:
            self._order = ops.pad(self._order, [(0, 0), (0, missing)])
        padded = np.zeros(self._order.shape[1], np.int32)
        padded[: len(head.order)] = head.order
        self._order = _with_row(self._order, self.slots.index(head), padded)

    def _evaluate(
        self,
        weights: tuple[Any, Any],
        heads: Sequence[Head],
        data: Data,
        rows: Sequence[Rows],
        n_slots: int,
    ) -> list[tuple[Any, Any]]:
        """Measure heads in chunks of their rows, filled up to `n_slots` heads of equal length."""
        slots = [self.slots.index(head) for head in heads]
        slots += [slots[0]] * (n_slots - len(heads))
        chosen = ops.convert_to_tensor(np.array(slots, dtype=np.int32))
        trained, statistics = (ops.take(array, chosen, axis=0) for array in weights)
        activation = ops.take(self._describe().activation, chosen, axis=0)
        longest = max(len(own) for own in rows)
        width = min(longest, MEASURED_ROWS)
        parts = []
        for start in range(0, longest, width):
            filled = np.zeros((n_slots, width), np.int32)
            present = np.zeros((n_slots, width), np.float32)
            for i, own in enumerate(rows):
                piece = own[start : start + width]
                filled[i, : len(piece)], present[i, : len(piece)] = piece, 1
            arrays = (ops.convert_to_tensor(filled), ops.convert_to_tensor(present))
            parts.append(
                self._backend.evaluate(
                    trained,
                    statistics,
                    activation,
                    data,
                    *arrays,
                    self.shape.structure,
                    self.shape.widths,
                )
            )
        return parts

    def _describe(self) -> Slots:
        """Write down the heads as arrays; an empty slot has no rows."""

        def layers(value: Callable[[Any], float], dtype: str) -> Any:
            return self._column(lambda head: [value(layer) for layer in head.params.layers], dtype)

        return Slots(
            order=self._order,
            n_rows=self._column(lambda head: len(head.order), "int32"),
            batch_size=self._column(lambda head: head.params.batch_size, "int32"),
            seed=self._column(lambda head: head.seed % 2**32, "uint32"),
            activation=layers(lambda layer: ACTIVATIONS.index(layer.activation), "int32"),
            dropout=layers(lambda layer: layer.dropout, "float32"),
            learning_rate=self._column(lambda head: head.progress.learning_rate, "float32"),
            weight_decay=self._column(lambda head: head.params.weight_decay, "float32"),
            label_smoothing=self._column(lambda head: head.params.label_smoothing, "float32"),
            focal_gamma=self._column(lambda head: head.params.focal_gamma, "float32"),
        )

    def _column(self, value: Callable[[Head], Any], dtype: str) -> Any:
        """Return one value a slot, zeros in the empty ones."""
        blank = np.zeros_like(value(self.heads[0]))
        values = [blank if head is None else value(head) for head in self.slots]
        return ops.convert_to_tensor(np.array(values, dtype=dtype))


def _room_for(n_rows: int) -> int:
    return -(-n_rows // ROWS_STEP) * ROWS_STEP


def _with_row(array: Any, slot: int, row: Row | npt.NDArray[np.int32]) -> Any:
    chosen = np.arange(array.shape[0])[:, None] == slot
    return ops.where(chosen, ops.convert_to_tensor(row)[None], array)
