"""Write and remove checkpoints while training goes on."""

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from shared.store import Store, StoreError
from shared.training.snapshot import Snapshot
from workers.checkpoint import Identity, remove_checkpoints, write_checkpoint
from workers.folds import FoldOutcome

FINISH_TIMEOUT_S = 20.0
"""How long a worker that leaves waits for the store in all: its driver ends it after 30."""

logger = logging.getLogger(__name__)
_Task = Callable[[], None]


class Keeper:
    """The thread that writes and removes a worker's checkpoints, in order.

    What cannot be written or removed is a warning: it costs epochs only should the worker die.
    `failure` is what else ended the thread before its time.
    """

    def __init__(self, store: Store, study_uuid: str) -> None:
        """Start with nothing to do."""
        self._store, self._study_uuid = store, study_uuid
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._n_left, self._changed = 0, threading.Condition()
        self._patience_s = FINISH_TIMEOUT_S
        self.failure: BaseException | None = None
        # A store that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """Say whether something that was sent is still to be done."""
        return self._n_left > 0

    def write(
        self,
        trial_id: int,
        identity: Identity,
        snapshot: Snapshot,
        values: Mapping[int, float],
        folds: Sequence[FoldOutcome] = (),
    ) -> None:
        """Write a trial's checkpoint in the place of its last one; returns at once."""
        known = (identity, snapshot, dict(values), tuple(folds))
        self._send(partial(write_checkpoint, self._store, trial_id, *known))

    def remove(self, trial_ids: Sequence[int]) -> None:
        """Remove the checkpoints of trials; returns at once."""
        self._send(partial(remove_checkpoints, self._store, self._study_uuid, trial_ids))

    def finish(self) -> None:
        """Wait until all that was sent is done, but not for ever; what is not then is a warning."""
        with self._changed:
            is_done = self._changed.wait_for(
                lambda: self._n_left == 0 or self.failure is not None, self._patience_s
            )
            if not is_done and self._patience_s:
                logger.warning(
                    "The store %s does not answer: what %d tasks were to write or remove there"
                    " within %g s is as it was. That costs epochs where a trial runs again",
                    *(self._store, self._n_left, self._patience_s),
                )
                self._patience_s = 0.0

    def close(self) -> None:
        """Finish, then end; raise what went wrong in the thread, but not in the store."""
        self.finish()
        self._tasks.put(None)
        if self.failure is not None:
            raise self.failure

    def _send(self, task: _Task) -> None:
        if self.failure is not None:
            raise self.failure
        with self._changed:
            self._n_left += 1
        self._tasks.put(task)

    def _run(self) -> None:
        try:
            while (task := self._tasks.get()) is not None:
                self._do(task)
        except BaseException as error:  # noqa: BLE001  whoever sends next raises it
            with self._changed:
                self.failure = error
                self._changed.notify_all()

    def _do(self, task: _Task) -> None:
        try:
            task()
        except StoreError as error:
            logger.warning("A checkpoint is as it was before: %s", error)
        with self._changed:
            self._n_left -= 1
            self._changed.notify_all()
