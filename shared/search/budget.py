"""Hand out trials so that a study never gets more than its budget."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any

from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from shared.errors import TagsweepError
from shared.search.bulk_read import count_failures, count_trials, read_best_value
from shared.search.bulk_write import Begun, begin_trials
from shared.search.liveness import alone
from shared.search.objectives import direction_of
from shared.search.storage import LIVELY
from shared.search.study import FAILURE
from shared.sections import StudyConfig

DRIVING = 0x7461_6774
"""The class of the advisory lock that the one driver of a study's search holds."""
CONCLUDING = 0x7461_6775
"""That of the lock of who makes a study's ensemble, which may be while others search."""
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


_LIVELY_SERVER = text(
    "SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
)
"""Have the server find out within a minute that a driver is cut off, so that another can drive."""
_HELD = (
    "locktype = 'advisory' AND granted AND classid = :kind AND objid = :study"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def driving(storage: RDBStorage, study_name: str) -> AbstractContextManager[Callable[[], None]]:
    """Be the one driver of a study's search for as long as the block lasts, as `_being_the_one`."""
    return _being_the_one(
        DRIVING,
        storage,
        study_name,
        "is being searched by another tagsweep. Watch it with `tagsweep status`, help it with"
        " `tagsweep worker`, or stop it first.",
    )


def concluding(storage: RDBStorage, study_name: str) -> AbstractContextManager[Callable[[], None]]:
    """Be the one who makes a study's ensemble while the block lasts, as `_being_the_one`."""
    return _being_the_one(
        CONCLUDING,
        storage,
        study_name,
        "is being made an ensemble of by another tagsweep. Wait until it is done, or stop it.",
    )


@contextmanager
def _being_the_one(
    kind: int, storage: RDBStorage, study_name: str, refusal: str
) -> Iterator[Callable[[], None]]:
    """Hold a study's lock of a kind.

    It lives in the database's session, so it goes with the process that holds it, but also with a
    database that restarts. Yields a function that takes it again then; to be called now and then.
    Both raise TagsweepError when another has it.
    """
    key = {"kind": kind, "study": storage.get_study_id_from_name(study_name)}
    is_held = f"EXISTS (SELECT FROM pg_locks WHERE {_HELD} AND pid = pg_backend_pid())"
    take = text(f"SELECT {is_held} OR pg_try_advisory_lock(:kind, :study)")
    # A session of its own: were it the pool's, a thread less could be at work.
    engine = create_engine(storage.engine.url, poolclass=NullPool, connect_args=LIVELY)
    with engine.connect() as connection:

        def hold() -> None:
            with connection.begin():
                connection.execute(_LIVELY_SERVER)
                is_ours = connection.execute(take, key).scalar_one()
            if not is_ours:
                raise TagsweepError(f"Study {study_name!r} {refusal}")

        hold()
        try:
            yield hold
        finally:
            # The lock goes with its session, which the database may have ended long before.
            connection.invalidate()


def is_driven(storage: RDBStorage, study_name: str) -> bool:
    """Say whether a driver is at work on the study, in any process on any machine."""
    key = {"kind": DRIVING, "study": storage.get_study_id_from_name(study_name)}
    query = text(f"SELECT count(*) FROM pg_locks WHERE {_HELD}")  # noqa: S608  a constant
    with storage.engine.connect() as connection:
        return bool(connection.execute(query, key).scalar_one())


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
