"""Keep trials under way in the run's store, where another worker finds them."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from zipfile import BadZipFile

from shared.store import read_file, remove_file, write_file
from shared.training.snapshot import Snapshot, from_bytes, to_bytes
from workers.folds import FoldOutcome

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Hold a head in training, and how its trial stands.

    `values` are the trial's intermediate values so far, by step, `folds` those that it is through.
    """

    snapshot: Snapshot
    values: dict[int, float]
    folds: list[FoldOutcome]


def write_checkpoint(
    store: str,
    trial_id: int,
    snapshot: Snapshot,
    values: Mapping[int, float],
    folds: Sequence[FoldOutcome] = (),
) -> None:
    """Write a trial's checkpoint in the place of its last one.

    A file belongs to one trial id, so a worker whose trial was taken from it and runs again, under
    another id, cannot write over its successor's.
    """
    facts = {"values": list(values.items()), "folds": [asdict(fold) for fold in folds]}
    write_file(store, _name(trial_id), to_bytes(snapshot, facts))


def read_checkpoint(store: str, trial_id: int) -> Checkpoint | None:
    """Read a trial's last checkpoint; None when there is none, or it cannot be read."""
    try:
        snapshot, facts = from_bytes(read_file(store, _name(trial_id)))
        values = {int(step): float(value) for step, value in facts["values"]}
        folds = [FoldOutcome(**fold) for fold in facts["folds"]]
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        logger.warning("Checkpoint %d in %s cannot be read: %s", trial_id, store, error)
        return None
    return Checkpoint(snapshot, values, folds)


def remove_checkpoint(store: str, trial_id: int) -> None:
    """Remove a trial's checkpoint, if it has one."""
    remove_file(store, _name(trial_id))


class Keeper:
    """Write and remove checkpoints from a thread of its own, in order, while training goes on.

    What cannot be written or removed is a warning: it costs epochs only should the worker die.
    """

    def __init__(self, store: str) -> None:
        """Start with nothing to do."""
        self._store = store
        self._thread = ThreadPoolExecutor(1, "keeper")
        self._last: Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Say whether something that was sent is still to be done."""
        return self._last is not None and not self._last.done()

    def write(
        self,
        trial_id: int,
        snapshot: Snapshot,
        values: Mapping[int, float],
        folds: Sequence[FoldOutcome] = (),
    ) -> None:
        """Write a trial's checkpoint in the place of its last one; returns at once."""
        known = (dict(values), tuple(folds))
        self._send(lambda: write_checkpoint(self._store, trial_id, snapshot, *known), trial_id)

    def remove(self, trial_ids: Iterable[int]) -> None:
        """Remove the checkpoints of trials; returns at once."""
        for trial_id in trial_ids:
            self._send(partial(remove_checkpoint, self._store, trial_id), trial_id)

    def close(self) -> None:
        """Do all that was sent, then end."""
        self._thread.shutdown()

    def _send(self, do: Callable[[], None], trial_id: int) -> None:
        self._last = self._thread.submit(self._try, do, trial_id)

    def _try(self, do: Callable[[], None], trial_id: int) -> None:
        try:
            do()
        except Exception as error:  # noqa: BLE001  what a store raises is its backend's choice
            logger.warning("Trial id %d cannot be kept in %s: %s", trial_id, self._store, error)


def _name(trial_id: int) -> str:
    return f"checkpoints/trial-{trial_id}.npz"
