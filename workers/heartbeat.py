"""Show that trials are worked on, and have those run again whose workers are gone."""

import logging
import threading
from collections.abc import Callable

from shared.config.sections import WorkersConfig
from shared.study.liveness import Reaper
from shared.study.patience import is_outage, reason_of
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.write import beat

logger = logging.getLogger(__name__)


class Heartbeat:
    """The signs of life of one worker's trials, written by a thread of its own while it is open.

    Another thread looks whether those of other workers come, so that waiting for a lock to take a
    lost trial stops no heartbeat. `taken` are trials, by id, that others have failed meanwhile,
    because they heard nothing from this worker for too long: it must let them be. `failure` is what
    ended a thread before its time.
    """

    def __init__(
        self, storage: StudyStorage, study_id: int, worker_id: str, config: WorkersConfig
    ) -> None:
        """Start beating, in the name of a worker whose id no other has."""
        self._storage, self._interval_s = storage, config.heartbeat_interval_s
        self._alive: set[int] = set()
        self.taken: set[int] = set()
        self.failure: BaseException | None = None
        self._closing = threading.Event()
        reaper = Reaper(storage, study_id, worker_id, config, self._closing)
        self._threads = [
            threading.Thread(target=self._repeat, args=(act,), name=name, daemon=True)
            for name, act in (("heartbeat", self._beat), ("reaper", reaper.look))
        ]
        for thread in self._threads:
            thread.start()

    def add(self, trial_id: int) -> None:
        """Beat for one more trial."""
        self._alive.add(trial_id)

    def discard(self, trial_id: int) -> None:
        """Beat no longer for a trial, because it has ended."""
        self._alive.discard(trial_id)

    def close(self) -> None:
        """Beat no more."""
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, act: Callable[[], object]) -> None:
        """Act at every interval, through outages too: whoever waits longer comes back too late."""
        while not self._closing.wait(self._interval_s):
            try:
                act()
            except Exception as error:  # noqa: BLE001  whoever runs the trials raises it
                if not is_outage(error):
                    self.failure = error
                    return
                logger.warning("No heartbeat can be written or read: %s", reason_of(error))

    def _beat(self) -> None:
        alive = self._alive.copy()
        if not alive:
            return
        with self._storage.transaction() as connection:
            taken = beat(connection, alive)
        # What ended meanwhile was not taken from us.
        self.taken |= taken & self._alive
        self._alive -= taken
