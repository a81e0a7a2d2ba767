"""Tell trials that are worked on from those whose worker is gone, and have these run again.

A running trial is held by a lease: its worker writes a heartbeat, a row of Optuna's own, again and
again. Whoever has seen the same heartbeat through a whole grace, by a clock of its own and with the
database answering all the while, takes the trial (see `leases.py`).
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection

from shared.config.sections import WorkersConfig
from shared.study.attributes import (
    CHECKPOINTS,
    DRIVER,
    LOSSES,
    REQUEST,
    RETRY_OF,
    WORKER,
    Failure,
    FailureKind,
    Owner,
)
from shared.study.leases import Leases
from shared.study.tables.count import TrialTally
from shared.study.tables.read import read_heartbeats, read_running, read_trial_attrs
from shared.study.tables.study import lock_study, read_system_attr, swap_system_attr
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.trials import (
    FailedTrial,
    Repetition,
    enqueue_again,
    fail_trials,
)

_TURN = threading.Lock()
_REAPER = "reaper"
"""The study's system attribute that says which worker takes lost trials, and its looks so far."""
_ROLE = 0
"""The key of that role's lease, beside those of trials by their ids, which begin at 1."""

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def alone(
    storage: StudyStorage,
    study_id: int,
    work: Callable[[Connection], Result],
    closing: threading.Event | None = None,
) -> Result:
    """Return what `work` returns while no other counts, creates or fails trials of a study.

    Done in one transaction, and tried again, as by `StudyStorage.transact`.
    """

    def attempt(connection: Connection) -> Result:
        lock_study(connection, study_id)
        return work(connection)

    # Threads of a process wait here, and not each with a connection in its hands.
    return storage.transact(attempt, closing, turn=_TURN)


def owners_of_running(storage: StudyStorage, study_id: int) -> dict[int, Owner]:
    """Return who runs the running trials, by their ids."""

    def read(connection: Connection) -> dict[int, Owner]:
        ids = read_running(connection, study_id)
        found = read_trial_attrs(connection, ids, (WORKER, DRIVER))
        return {i: Owner(attrs.get(WORKER, ""), attrs.get(DRIVER)) for i, attrs in found.items()}

    return storage.transact(read)


class Reaper:
    """One worker's part in taking the trials of those that are gone.

    One worker of a study looks at all heartbeats; the others look whether it still does, by a lease
    of its own, and only while they doubt it at the heartbeats too. So what is read does not grow
    with the square of the workers, and nothing is lost when the reaper itself dies, or becomes too
    slow to see anything through a whole grace: then it lets its lease run out.
    """

    def __init__(
        self,
        storage: StudyStorage,
        study_id: int,
        worker_id: str,
        config: WorkersConfig,
        closing: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch in the name of a worker, whose id no other has, until it is closing."""
        self._storage, self._study_id, self._worker_id = storage, study_id, worker_id
        self._config, self._closing = config, closing
        self._leases = Leases(config.heartbeat_interval_s, config.heartbeat_grace_s, clock)
        # Half as many looks again as it takes to watch through a grace after an outage.
        self._max_blind = 1.5 * config.heartbeat_grace_s / config.heartbeat_interval_s
        self._n_looks = self._n_blind = 0

    def look(self) -> list[int]:
        """Look at the leases once, and fail and enqueue again the trials that are lost.

        Returns the failed trials' ids. Raises what an outage raises, and watches anew after it.
        """
        try:
            with self._storage.transaction() as connection:
                expired = self._find_expired(connection)
            return self._take(expired)
        except Exception:
            self._leases.forget()
            raise

    def _find_expired(self, connection: Connection) -> dict[int, datetime | None]:
        """Return the last heartbeats of trials to be taken; none while another has the role."""
        reaper = read_system_attr(connection, self._study_id, _REAPER)
        is_ours = reaper is None or reaper["worker"] == self._worker_id
        is_doubted = is_ours or self._leases.has_seen(_ROLE, reaper)
        heartbeats = read_heartbeats(connection, self._study_id) if is_doubted else {}
        expired = self._leases.see({_ROLE: reaper, **heartbeats})
        self._n_blind = 0 if self._leases.has_watched else self._n_blind + 1
        is_blind = is_ours and self._n_blind > self._max_blind
        has_role = (expired.pop(_ROLE, None) is not None or is_ours) and not is_blind
        self._n_looks += 1
        mine = {"worker": self._worker_id, "looks": self._n_looks}
        if not has_role or not swap_system_attr(connection, self._study_id, _REAPER, reaper, mine):
            return {}
        return expired

    def _take(self, expired: Mapping[int, datetime | None]) -> list[int]:
        grace_s = self._config.heartbeat_grace_s
        failure = Failure(FailureKind.LOST, f"lost: no sign of life for {grace_s:g} s")
        max_losses = self._config.max_retries
        return retry(
            self._storage, self._study_id, expired, failure, max_losses, expired, self._closing
        )


def retry(
    storage: StudyStorage,
    study_id: int,
    trial_ids: Collection[int],
    failure: Failure,
    max_losses: int | None = None,
    heartbeats: Mapping[int, datetime | None] | None = None,
    closing: threading.Event | None = None,
) -> list[int]:
    """Fail running trials and enqueue each again with its parameters, unless it was lost too often.

    With `heartbeats`, by id, only trials whose last one is still the same. Returns the ids that
    were failed: others may have ended meanwhile, which is as well. All is one transaction, so no
    trial is failed without being enqueued, and the budget has room for it: none is created in
    between.
    """
    if not trial_ids:
        return []

    def work(connection: Connection) -> list[int]:
        n_trials = TrialTally(study_id).count(connection).total()
        failed = fail_trials(connection, trial_ids, failure.attrs, heartbeats)
        again = [_repeat(trial, failure.kind) for trial in failed]
        again = [
            one for one in again if max_losses is None or one.system_attrs[LOSSES] <= max_losses
        ]
        enqueue_again(connection, study_id, n_trials, again)
        return [trial.trial_id for trial in failed]

    failed = alone(storage, study_id, work, closing)
    if failed:
        logger.info("%d trials are to run again: %s", len(failed), failure.reason)
    return failed


def _repeat(failed: FailedTrial, kind: FailureKind) -> Repetition:
    """Return what runs a failed trial again.

    Its first two attributes are what Optuna's own `RetryHeartbeatStaleTrialCallback` writes, which
    other tools know.
    """
    attrs = failed.system_attrs
    system_attrs = {
        "failed_trial": failed.number,
        **{key: value for key, value in attrs.items() if key != REQUEST},
        "retry_history": [*attrs.get("retry_history", []), failed.number],
        CHECKPOINTS: [failed.trial_id, *attrs.get(CHECKPOINTS, [])],
        LOSSES: attrs.get(LOSSES, 0) + (kind is FailureKind.LOST),
    }
    origin = failed.user_attrs.get(RETRY_OF, failed.number)
    return Repetition(failed.trial_id, {RETRY_OF: origin}, system_attrs)
