"""Show that trials are worked on, and have those run again whose workers are gone."""

import threading
import time
from math import inf

from optuna.storages import RDBStorage
from optuna.study import Study

from shared.search.bulk_write import beat
from shared.search.liveness import reap
from shared.search.patience import patiently
from shared.sections import WorkersConfig


class Heartbeat:
    """Beat for this worker's trials from a thread of its own, for as long as it is open.

    Trials of others are taken for lost only by one whose own beats have come through for as long as
    the grace: after an outage of the database whoever is back first waits for the others.
    `taken` are trials, by id, that others have failed meanwhile, because they heard nothing from
    this worker for too long: it must let them be.
    """

    def __init__(self, study: Study, storage: RDBStorage, config: WorkersConfig) -> None:
        """Start beating."""
        self._study, self._storage, self._config = study, storage, config
        self._alive: set[int] = set()
        self.taken: set[int] = set()
        self.failure: BaseException | None = None
        self._beaten_s = self._steady_since_s = time.monotonic()
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
                patiently(self._beat, self._closing, on_outage=self._on_outage)
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
        self._reap()

    def _reap(self) -> None:
        config, now_s = self._config, time.monotonic()
        if now_s - self._beaten_s > config.heartbeat_interval_s + config.heartbeat_grace_s:
            self._steady_since_s = now_s  # this process, or the database, was frozen
        self._beaten_s = now_s
        if now_s - self._steady_since_s >= config.heartbeat_grace_s:
            reap(self._study, self._storage, config.heartbeat_grace_s, config.max_retries)

    def _on_outage(self, reason: str | None) -> None:
        """Be steady again from the outage's end."""
        self._steady_since_s = time.monotonic() if reason is None else inf
