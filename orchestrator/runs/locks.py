"""Let one process at a time search a study, or make its ensemble."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from shared.errors import InputError, TagsweepError
from shared.study.patience import patiently
from shared.study.tables.storage import LIVELY, redact
from shared.study.tables.study_storage import StudyStorage


class Lock(IntEnum):
    """Name what is done by one at a time, by the class of its advisory lock in PostgreSQL.

    The ensemble of the best so far may be made while others search.
    """

    SEARCH = 0x7461_6774
    ENSEMBLE = 0x7461_6775


class LockedError(TagsweepError):
    """The refusal of what another process does just now."""


_REFUSALS = {
    Lock.SEARCH: "is being searched by another tagsweep. Watch it with `tagsweep status`, help it"
    " with `tagsweep worker`, or stop it first.",
    Lock.ENSEMBLE: "is having its ensemble made by another tagsweep. Wait for it, or stop it.",
}
_LIVELY_SERVER = text(
    "SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
)
"""Have the server find out within a minute that a driver is cut off, so that another can drive."""
_HELD = (
    "locktype = 'advisory' AND granted AND classid = :kind AND objid = :study"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@contextmanager
def locked(storage: StudyStorage, study_name: str, lock: Lock) -> Iterator[Callable[[], None]]:
    """Hold a lock of a study for as long as the block lasts.

    It lives in the database's session, so it goes with the process that holds it, but also with a
    database that restarts. Yields a function that takes it again then; to be called now and then.
    Both outlast outages, and raise LockedError when another holds it.
    """
    key = {"kind": lock.value, "study": storage.get_study_id_from_name(study_name)}
    is_held = f"EXISTS (SELECT FROM pg_locks WHERE {_HELD} AND pid = pg_backend_pid())"
    take = text(f"SELECT {is_held} OR pg_try_advisory_lock(:kind, :study)")
    # A session of its own: were it the pool's, a thread less could be at work.
    engine = create_engine(storage.engine.url, poolclass=NullPool, connect_args=LIVELY)
    with patiently(engine.connect, patience=storage.patience) as connection:

        def take_or_keep() -> bool:
            with connection.begin():
                connection.execute(_LIVELY_SERVER)
                return bool(connection.execute(take, key).scalar_one())

        def hold() -> None:
            if not patiently(take_or_keep, patience=storage.patience):
                raise LockedError(f"Study {study_name!r} {_REFUSALS[lock]}")

        _require_session(connection, storage)
        hold()
        try:
            yield hold
        finally:
            # The lock goes with its session, which the database may have ended long before.
            connection.invalidate()


def _require_session(connection: Connection, storage: StudyStorage) -> None:
    """Raise InputError where a pooler hands each transaction another session, and so the lock."""
    session = text("SELECT pg_backend_pid()")

    def read() -> int:
        with connection.begin():
            return int(connection.execute(session).scalar_one())

    before = patiently(read, patience=storage.patience)
    # The other connection's transaction has from a pooler the session that was used last.
    if storage.transact(lambda _other: read()) != before:
        raise InputError(
            f"The storage {redact(storage.url)} must keep one session for a connection, but gives"
            " each transaction another, as PgBouncer does in its transaction mode. Name the server"
            " itself in TAGSWEEP_STORAGE, and the pooler in TAGSWEEP_WORKER_STORAGE."
        )


def require_free(storage: StudyStorage, study_name: str, lock: Lock) -> None:
    """Raise LockedError where another holds a lock that will be wanted later."""
    if is_held(storage, study_name, lock):
        raise LockedError(f"Study {study_name!r} {_REFUSALS[lock]}")


def is_driven(storage: StudyStorage, study_name: str) -> bool:
    """Say whether a driver is at work on the study's search, in any process on any machine."""
    return is_held(storage, study_name, Lock.SEARCH)


def is_held(storage: StudyStorage, study_name: str, lock: Lock) -> bool:
    """Say whether any process on any machine holds a lock of the study."""
    key = {"kind": lock.value, "study": storage.get_study_id_from_name(study_name)}
    query = text(f"SELECT count(*) FROM pg_locks WHERE {_HELD}")  # noqa: S608  a constant
    return storage.transact(lambda connection: bool(connection.scalar(query, key)))
