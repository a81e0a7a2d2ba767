"""Hand out trials so that a study never gets more than its budget."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection

from shared.errors import TagsweepError
from shared.search.bulk_read import count_failures, count_trials, read_best_value
from shared.search.bulk_write import Begun, begin_trials
from shared.search.liveness import alone
from shared.search.objectives import direction_of
from shared.search.study import FAILURE
from shared.sections import StudyConfig

DIVERGED = "diverged"
"""How the failure of a trial begins whose loss was not finite."""
OUT_OF_MEMORY = "out of memory"
"""How the failure of a trial begins whose head alone does not fit into the device's memory."""


def ask(
    storage: RDBStorage,
    study_id: int,
    limits: StudyConfig,
    n: int = 1,
    attrs: Mapping[str, Any] = MappingProxyType({}),
) -> list[Begun]:
    """Have up to `n` trials run, fewer when those finished and running leave less of the budget.

    Trials that are enqueued come first. Counting and creating happen under one lock in the
    database, so the budget holds for any number of workers. None at all is not the end: a running
    trial may still fail and make room. Each has its first heartbeat and the user attributes.
    """
    with alone(storage, study_id) as connection:
        counts = count_trials(connection, study_id)
        room = limits.n_trials - sum(counts[state] for state in _COUNTED)
        if room <= 0 or _is_good_enough(connection, study_id, limits):
            return []
        if counts[TrialState.FAIL] >= limits.n_trials:
            _require_hope(connection, study_id, limits)
        return begin_trials(connection, study_id, min(n, room), counts, attrs)


def is_spent(storage: RDBStorage, study_id: int, limits: StudyConfig) -> bool:
    """Say whether the study has its full number of finished trials, or a good enough one."""
    return count_left(storage, study_id, limits) == 0


def count_left(storage: RDBStorage, study_id: int, limits: StudyConfig) -> int:
    """Return how many trials are still to finish."""
    with storage.engine.begin() as connection:
        counts = count_trials(connection, study_id)
        if _is_good_enough(connection, study_id, limits):
            return 0
        return max(0, limits.n_trials - sum(counts[state] for state in _FINISHED))


def is_out_of_time(searched_s: float, limits: StudyConfig) -> bool:
    """Say whether the time for the search is spent, if it is limited."""
    return limits.timeout_s is not None and searched_s >= limits.timeout_s


_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_COUNTED = (*_FINISHED, TrialState.RUNNING)


def _require_hope(connection: Connection, study_id: int, limits: StudyConfig) -> None:
    """Raise TagsweepError when as many trials as the budget has failed by their parameters."""
    for reason, cure in ((DIVERGED, "the learning rate"), (OUT_OF_MEMORY, "space.max_units")):
        n_failed = count_failures(connection, study_id, FAILURE, reason)
        if n_failed >= limits.n_trials:
            raise TagsweepError(
                f"{n_failed} trials failed, as many as the budget has: {reason}."
                f" Narrow the search space, {cure} first, and start a new study."
            )


def _is_good_enough(connection: Connection, study_id: int, limits: StudyConfig) -> bool:
    if limits.target_value is None:
        return False
    direction = direction_of(limits.objective[0])
    best = read_best_value(connection, study_id, direction)
    if best is None:
        return False
    is_minimised = direction is StudyDirection.MINIMIZE
    return best <= limits.target_value if is_minimised else best >= limits.target_value
