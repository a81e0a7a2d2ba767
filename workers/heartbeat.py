"""Show that trials are worked on, and have those run again whose workers are gone."""

import threading

from optuna.storages import RDBStorage
from optuna.study import Study

from shared.search.bulk_write import beat
from shared.search.liveness import reap
from shared.search.patience import patiently
from shared.sections import WorkersConfig


class Heartbeat:
    """Beat for this worker's trials from a thread of its own, for as long as it is open.

    `taken` are trials, by id, that others have failed meanwhile, because they heard nothing from
    this worker for too long: it must let them be.
    """

    def __init__(self, study: Study, storage: RDBStorage, config: WorkersConfig) -> None:
        """Start beating."""
        self._study, self._storage, self._config = study, storage, config
        self._alive: set[int] = set()
        self.taken: set[int] = set()
        self.failure: BaseException | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def add(self, trial_id: int) -> None:
        """Beat for one more trial."""
        self._alive.add(trial_id)

    def discard(self, trial_id: int) -> None:
        """Beat no longer for a trial, because it has ended."""
        self._alive.discard(trial_id)

    def close(self) -> None:
        """Beat no more."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        config = self._config
        while not self._closing.wait(config.heartbeat_interval_s):
            try:
                patiently(self._beat, self._closing)
            except BaseException as error:  # noqa: BLE001  whoever runs the trials raises it
                self.failure = error
                break
        self._storage.remove_session()

    def _beat(self) -> None:
        alive = self._alive.copy()
        taken = beat(self._storage, alive)
        # What ended meanwhile was not taken from us.
        self.taken |= taken & self._alive
        self._alive -= taken
        config = self._config
        reap(self._study, self._storage, config.heartbeat_grace_s, config.max_retries)
