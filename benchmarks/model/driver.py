"""A simulated driver: it holds the study's lock, and gives up what the dead have left."""

from contextlib import ExitStack
from functools import partial
from operator import eq

from optuna.study import Study

from orchestrator.runs.locks import Lock, locked
from orchestrator.search.supervise import DRIVER_DIED, WORKER_DIED, hand_back
from shared.config.sweep import SweepConfig
from shared.study.attributes import Owner
from shared.study.budget import enqueue_first
from shared.study.study import accept_config
from shared.study.tables.read import id_of
from shared.study.tables.study_storage import StudyStorage


class SimulatedDriver:
    """A driver process. Raises LockedError when another drives, as it starts or as it polls."""

    def __init__(self, storage: StudyStorage, study: Study, name: str, config: SweepConfig) -> None:
        """Take the lock, have the study go on by the configuration, and begin as a search does."""
        self.id, self._storage, self._study_id = name, storage, id_of(study)
        self._max_retries = config.workers.max_retries
        self._known: set[Owner] = set()
        self.has_lock = True
        with ExitStack() as stack:
            self._hold = stack.enter_context(locked(storage, study.study_name, Lock.SEARCH))
            self._session = stack.pop_all()
        accept_config(study, storage, config)
        enqueue_first(storage, self._study_id, {"x": 0.5})
        hand_back(
            storage,
            self._study_id,
            lambda owner: owner.driver is not None,
            DRIVER_DIED,
            self._max_retries,
        )

    def poll(self, dead: set[Owner]) -> None:
        """Make sure of the lock, and have the trials of dead workers of the pool run again."""
        self._hold()
        self.has_lock = True
        for owner in sorted(dead - self._known, key=lambda one: one.worker):
            gone = partial(eq, owner)
            hand_back(self._storage, self._study_id, gone, WORKER_DIED, self._max_retries)
        self._known |= dead

    def leave(self) -> None:
        """End, or die: the lock goes with the session."""
        self._session.close()
