"""Train many heads at a time, each at its own pace: a freed slot takes the next head at once."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shared.training.backends import current_backend
from shared.training.head import Weights
from shared.training.inputs import Rows
from shared.training.matrix import Matrix
from shared.training.pack import Pack, Shape
from shared.training.params import HeadParams, InputParams
from shared.training.schedule import Ending, advance
from shared.training.shards import Shards
from shared.training.slot import Head
from shared.training.snapshot import Snapshot

if TYPE_CHECKING:
    from shared.config.sections import TrainingConfig

MIN_STEPS = 16
"""Steps between two looks at a pack: heads whose pass ends meanwhile wait for the others."""
CAPACITIES = (16, 64)
"""Slots that a padded pack is compiled for. A step of 16 costs a GPU hardly more than one of 1, and
of 64 it is the memory that bounds it; while one pack's results are looked at, another trains."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Epoch:
    """Report one epoch of one head; `value` is its validation loss in nats, a label or a row.

    A head with an `ending` is trained no further. The value of a DIVERGED one is not finite.
    """

    key: int
    step: int
    value: float
    ending: Ending | None


class Trainer:
    """Train up to `n_slots` heads on one matrix, in packs of like ones."""

    def __init__(
        self,
        matrix: Matrix,
        config: "TrainingConfig",
        n_slots: int,
        max_batch_size: int,
        max_layers: int,
    ) -> None:
        """Start empty; no head may have a larger batch or more hidden layers than these."""
        self.n_slots = n_slots
        self._matrix, self._config = matrix, config
        self._max_batch_size, self._max_layers = max_batch_size, max_layers
        self._backend = current_backend()
        self._packs: list[Pack] = []
        self._waiting: deque[tuple[Head, Snapshot | None]] = deque()
        self._given: dict[int, int] = {}

    @property
    def n_heads(self) -> int:
        """The heads added and not removed."""
        return len(self._given)

    def add(
        self,
        key: int,
        params: HeadParams,
        seed: int,
        train_rows: Rows,
        valid_rows: Rows,
        snapshot: Snapshot | None = None,
    ) -> None:
        """Take in a head; `key` names it, and `seed` decides weights, dropout and shuffling.

        With a snapshot of the same head, taken in any trainer, it goes on from there.
        """
        self._given[key] = 0 if snapshot is None else snapshot.progress.epochs
        self._waiting.append((Head(key, params, seed, train_rows, valid_rows), snapshot))

    def restart(self, key: int, seed: int, train_rows: Rows, valid_rows: Rows) -> None:
        """Train a head anew, before those that wait, from another seed and on other rows."""
        pack, head = self._find(key)
        pack.remove(head)
        self._waiting.appendleft((Head(key, head.params, seed, train_rows, valid_rows), None))
        self._given[key] = 0

    def remove(self, key: int) -> None:
        """Forget a head, and let a waiting one have its slot."""
        del self._given[key]
        if self._is_waiting(key):
            self._waiting = deque(each for each in self._waiting if each[0].key != key)
            return
        pack, head = self._find(key)
        pack.remove(head)

    def clear(self) -> None:
        """Forget all heads, and whatever an error has left of their programs' state."""
        self._packs.clear()
        self._waiting.clear()
        self._given.clear()

    def advance(self) -> list[Epoch]:
        """Train each pack until a head or more of it have ended an epoch; return these epochs.

        Out of memory, it goes on with half the slots: the heads start again from their seeds, and
        epochs that were returned before are not returned twice. Raises MemoryError when one head
        alone does not fit.
        """
        while True:
            try:
                ended = self._advance_all()
            except Exception as error:
                if not self._backend.is_out_of_memory(error):
                    raise
                self._halve(error)
                continue
            epochs = [epoch for epoch in ended if epoch.step >= self._given[epoch.key]]
            for epoch in epochs:
                self._given[epoch.key] = epoch.step + 1
            if epochs:
                return epochs

    def weights(self, key: int) -> Weights:
        """Return a head's best weights so far, as Keras has them."""
        pack, head = self._find(key)
        return pack.best_weights(head)

    def snapshot(self, key: int) -> Snapshot | None:
        """Return all that a head goes on from; None while it waits for a slot to start in."""
        for head, snapshot in self._waiting:
            if head.key == key:
                return snapshot
        pack, head = self._find(key)
        return pack.snapshot(head)

    def logits(self, key: int, rows: Rows) -> npt.NDArray[np.float32]:
        """Return the (len(rows), L) logits of a head with its best weights for ascending rows."""
        pack, head = self._find(key)
        shards = self._matrix.shards(pack.shape.inputs)
        if shards.is_resident:
            return pack.logits(head, shards.whole, rows)
        parts = [
            pack.logits(head, data, local)
            for shard, data in shards.stream(range(shards.n_shards))
            if len(local := shards.within(rows, shard))
        ]
        return np.concatenate(parts)

    def _advance_all(self) -> list[Epoch]:
        """Train every pack that has something to train, or all that read the same shards."""
        # All are begun before any is waited for. So are heads that are new to a pack put into their
        # slots: while a GPU computes, the host draws their weights.
        begun = {pack: self._begin(pack) for pack in self._resident_packs()}
        self._fill_slots()
        begun |= {pack: self._begin(pack) for pack in self._resident_packs() if pack not in begun}
        epochs = [epoch for finish in begun.values() for epoch in finish()]
        others = [pack for pack in self._packs if _is_running(pack) and pack not in begun]
        for inputs in dict.fromkeys(pack.shape.inputs for pack in others):
            epochs += self._stream(inputs, self._matrix.shards(inputs))
        if not begun and not others:
            raise ValueError("advance needs a head that has not ended, but there is none.")
        return epochs

    def _resident_packs(self) -> list[Pack]:
        """Return the packs that have something to train, and their rows on the device."""
        return [
            pack
            for pack in self._packs
            if _is_running(pack) and self._matrix.shards(pack.shape.inputs).is_resident
        ]

    def _begin(self, pack: Pack) -> Callable[[], list[Epoch]]:
        """Have a pack trained until a head or more of it are through their rows.

        What is returned waits for that, and says how these epochs ended.
        """
        data = self._matrix.shards(pack.shape.inputs).whole
        running = [head for head in pack.heads if head.progress.ending is None]
        pack.train(data, _steps_to_next_end(running))
        ended = [head for head in running if head.steps_left == 0]
        sums = pack.losses(ended, data, [head.valid_rows for head in ended])
        pack.begin(ended, [head.train_rows for head in ended])

        def finish() -> list[Epoch]:
            epochs = self._finish_epoch(pack, ended, sums())
            for head in ended:
                if head.progress.ending is not None:
                    head.stop()
            return epochs

        return finish

    def _stream(self, inputs: InputParams, shards: Shards) -> list[Epoch]:
        """Train all heads that read alike for one epoch, in step.

        A shard serves all of them before the next one comes.
        """
        epochs: list[Epoch] = []
        running = {
            pack: [head for head in pack.heads if head.progress.ending is None]
            for pack in self._packs
            if pack.shape.inputs == inputs
        }
        n_epochs = max(head.progress.epochs for heads in running.values() for head in heads)
        order = np.random.default_rng(n_epochs).permutation(shards.n_shards)
        for shard, data in shards.stream([int(shard) for shard in order]):
            for pack, heads in running.items():
                pack.begin(heads, [shards.within(head.train_rows, shard) for head in heads])
                while any(head.steps_left for head in heads):
                    pack.train(data, _steps_to_next_end(heads))
        sums = {pack: np.zeros(len(heads)) for pack, heads in running.items()}
        for shard, data in shards.stream(range(shards.n_shards)):
            for pack, heads in running.items():
                rows = [shards.within(head.valid_rows, shard) for head in heads]
                if any(map(len, rows)):
                    sums[pack] += pack.losses(heads, data, rows)()
        for pack, heads in running.items():
            epochs += self._finish_epoch(pack, heads, list(sums[pack]))
        return epochs

    def _finish_epoch(self, pack: Pack, heads: list[Head], sums: list[float]) -> list[Epoch]:
        values = [total / len(head.valid_rows) for head, total in zip(heads, sums, strict=True)]
        for head, value in zip(heads, values, strict=True):
            head.progress = advance(head.progress, value, self._config)
        pack.keep_best([head for head in heads if head.progress.improved])
        return [
            Epoch(head.key, head.progress.epochs - 1, value, head.progress.ending)
            for head, value in zip(heads, values, strict=True)
        ]

    def _fill_slots(self) -> None:
        """Put heads that wait into free slots, and give each pack the room that it needs."""
        while self._waiting and self._n_placed < self.n_slots:
            head, snapshot = self._waiting[0]
            pack = self._pack_for(head)
            if None not in pack.slots:
                self._fit_capacity(pack, len(pack.heads) + 1)
            pack.add(head, snapshot)
            self._waiting.popleft()
        self._packs = [pack for pack in self._packs if pack.heads]
        for pack in self._packs:
            self._fit_capacity(pack, len(pack.heads))

    def _pack_for(self, head: Head) -> Pack:
        """Return the pack that a head joins, a new one where there is none."""
        shape = self._shape_of(head.params)
        for pack in self._packs:
            if pack.shape == shape and len(pack.heads) < self._capacity(self.n_slots):
                return pack
        self._packs.append(Pack(shape, len(head.train_rows)))
        return self._packs[-1]

    def _fit_capacity(self, pack: Pack, n_heads: int) -> None:
        """Give a pack room for so many heads and as few others as its program allows."""
        n_slots = len(pack.slots)
        if self._backend.exact_shapes():
            capacity = n_heads
        elif n_heads > n_slots:
            capacity = self._capacity(n_heads)
        else:  # fewer only where a few more heads will not have it be larger again
            capacity = min(n_slots, self._capacity(2 * n_heads))
        if capacity != n_slots:
            pack.resize(capacity)

    def _capacity(self, n_heads: int) -> int:
        """Return the slots of the smallest padded pack that holds so many heads, or the largest."""
        sizes = [size for size in CAPACITIES if size <= self.n_slots] or [self.n_slots]
        return next((size for size in sizes if size >= n_heads), sizes[-1])

    def _shape_of(self, params: HeadParams) -> Shape:
        """Return the shape that a head is trained in: its own, or one shared by similar heads."""
        units = tuple(layer.units for layer in params.layers)
        n_batch, structure = params.batch_size, params.structure
        if not self._backend.exact_shapes():
            n_batch, n_layers = self._max_batch_size, self._max_layers
            units = (_padded_width(max(units)),) * n_layers
            structure = replace(structure, n_layers=n_layers, has_gaps=n_layers > 1)
        widths = (self._matrix.width_of(params.inputs), *units, self._matrix.n_labels)
        return Shape(params.inputs, structure, widths, n_batch)

    def _halve(self, error: Exception) -> None:
        if self.n_slots == 1:
            raise MemoryError(
                "One head alone does not fit into the device's memory. Lower space.max_units,"
                " or keep the embeddings in training.matrix_dtype: float16."
            ) from error
        heads = {head.key: head for pack in self._packs for head in pack.heads}
        heads |= {head.key: head for head, _ in self._waiting}
        self.n_slots //= 2
        logger.warning(
            "The device's memory does not hold %d heads at a time; going on with %d.",
            2 * self.n_slots,
            self.n_slots,
        )
        self._packs.clear()
        self._waiting = deque(
            (Head(h.key, h.params, h.seed, h.train_rows, h.valid_rows), None)
            for h in heads.values()
        )

    @property
    def _n_placed(self) -> int:
        return sum(len(pack.heads) for pack in self._packs)

    def _is_waiting(self, key: int) -> bool:
        return any(head.key == key for head, _ in self._waiting)

    def _find(self, key: int) -> tuple[Pack, Head]:
        return next((pack, head) for pack in self._packs for head in pack.heads if head.key == key)


def _is_running(pack: Pack) -> bool:
    return any(head.progress.ending is None for head in pack.heads)


def _steps_to_next_end(heads: list[Head]) -> int:
    """Count the steps until a head ends its pass, and more where others would be held up."""
    nearest = min(head.steps_left for head in heads if head.steps_left)
    return nearest if len(heads) == 1 else max(nearest, MIN_STEPS)


def _padded_width(units: int) -> int:
    """Return the next of 64, 128, 256, 384, 512, 768, 1024, 1536 ...: few shapes, little waste."""
    power = 64
    while power < units:
        power *= 2
    between = power * 3 // 4
    return between if power > 256 and between >= units else power  # noqa: PLR2004
