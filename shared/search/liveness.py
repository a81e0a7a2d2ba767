"""Tell trials that are worked on from those whose worker is gone, and have these run again.

A running trial is alive while its heartbeat, a row of Optuna's own, is younger than a grace time.
Rows are written and judged by the database's clock alone, so clocks of machines may differ.
"""

import logging
import threading
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from copy import deepcopy

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection

from shared.search.bulk_read import id_of, read_running
from shared.search.bulk_write import lock_study, read_stale
from shared.search.storage import within
from shared.search.study import CHECKPOINTS, FAILURE, RETRY_OF, WORKER

LOST = "lost"
"""How the failure of a trial begins whose worker gave no sign of life."""
HANDED_BACK = "interrupted"
"""How the failure of a trial begins that was given up in order, to run again."""
_TURN = threading.Lock()

logger = logging.getLogger(__name__)


@contextmanager
def alone(storage: RDBStorage, study_id: int) -> Iterator[Connection]:
    """Keep all others from counting, creating and failing trials of a study meanwhile.

    Yields the connection, in a transaction, that holds the lock for as long as the block lasts.
    """
    # Threads of a process wait here, and not each with a connection in its hands.
    with _TURN, storage.engine.begin() as connection:
        lock_study(connection, study_id)
        yield connection


def workers_of_running(storage: RDBStorage, study_id: int) -> dict[int, str]:
    """Return the running trials' ids, and the names of the workers that they run on."""
    with storage.engine.begin() as connection:
        names = read_running(connection, study_id, WORKER)
    return {trial_id: name or "" for trial_id, name in names.items()}


def reap(study: Study, storage: RDBStorage, grace_s: float, max_retries: int) -> list[int]:
    """Fail the running trials without a heartbeat in `grace_s`, and enqueue them again.

    Returns the failed trials' ids. Any number of processes may do this at once.
    """
    found = read_stale(storage, id_of(study), grace_s)
    return retry(study, storage, found, f"{LOST}: no sign of life for {grace_s:g} s", max_retries)


def retry(
    study: Study,
    storage: RDBStorage,
    trial_ids: Collection[int],
    reason: str,
    max_retries: int | None = None,
) -> list[int]:
    """Fail running trials and enqueue each again with its parameters, unless it was too often.

    None: however often, for trials that were handed back in order. Returns the ids that were
    failed: others may have ended meanwhile, which is as well. All is one transaction, so no trial
    is failed without being enqueued, and the budget has room for it: none is created in between.
    """
    if not trial_ids:
        return []
    with alone(storage, id_of(study)) as connection:
        inner = within(storage, connection)
        failed = [trial_id for trial_id in trial_ids if _fail(inner, trial_id, reason)]
        logger.info("Enqueued %d trials again: %s", len(failed), reason)
        same = optuna.load_study(study_name=study.study_name, storage=inner)
        for trial_id in failed:
            _enqueue_again(same, inner.get_trial(trial_id), max_retries)
        inner.remove_session()
    return failed


def _fail(storage: RDBStorage, trial_id: int, reason: str) -> bool:
    try:
        storage.set_trial_user_attr(trial_id, FAILURE, reason)
        return storage.set_trial_state_values(trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False


def _enqueue_again(study: Study, failed: FrozenTrial, max_retries: int | None) -> None:
    """Leave it to Optuna's own callback, whose attributes its other tools know."""
    trial = deepcopy(failed)
    checkpoints = [failed._trial_id, *failed.system_attrs.get(CHECKPOINTS, [])]  # noqa: SLF001
    trial.user_attrs = {RETRY_OF: failed.user_attrs.get(RETRY_OF, failed.number)}
    trial.system_attrs = failed.system_attrs | {CHECKPOINTS: checkpoints}
    with warnings.catch_warnings():
        # Experimental since Optuna 2.8.
        warnings.simplefilter("ignore", ExperimentalWarning)
        RetryHeartbeatStaleTrialCallback(max_retries)(study, trial)
