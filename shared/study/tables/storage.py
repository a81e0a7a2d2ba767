"""Open the PostgreSQL storage of a study."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from shared.errors import InputError, TagsweepError
from shared.study.patience import OutageError, Patience, patiently, reason_of
from shared.study.tables.read import read_sequences
from shared.study.tables.study_storage import StudyStorage

MAX_CONNECTIONS = 2
"""Connections a worker may hold: one may wait for its turn to ask while the other reports."""
DRIVERS_LOCK = 1
"""The connection that a driver has beside these, for as long as it drives."""
SPENT_SHARE = 0.5
"""The share of a counter's numbers that may be used up before somebody is told."""
_MADE_BY_ANOTHER = ("23505", "42P07", "42710")
"""What PostgreSQL says to whom another process anticipates in making the same table or row."""
_MEETING_WAITS_S = (0.1, 0.2, 0.4, 0.8, 1.6)
"""When to look again whether that process has done it."""

PORTS = range(1, 65_536)

LIVELY = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""What makes libpq find out within a minute, and not two hours, that the way to the server is cut
(in seconds, the last in milliseconds; `man 7 tcp`)."""
DRIVER = "postgresql+psycopg2"
"""The driver we use; SQLAlchemy's own default for `postgresql://` is another."""

logger = logging.getLogger(__name__)


def parse_url(url: str) -> URL:
    """Read a PostgreSQL URL; raise InputError for any other, never showing a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter of a port that is no number
        raise InputError(
            "The storage must be a URL such as postgresql://user@host:5432/database, but cannot be"
            " read. Is its port a number, and are :, / and @ in its password written as %3A, %2F"
            " and %40?"
        ) from None  # the cause may have a piece of the password
    driver = parsed.drivername
    if driver.startswith("sqlite"):
        raise InputError(
            "The storage must be PostgreSQL, but is SQLite: it loses writes when several workers"
            " report at once. Leave --storage out to have a PostgreSQL started for you."
        )
    if driver not in {"postgresql", DRIVER}:
        raise InputError(
            f"The storage must be PostgreSQL (postgresql://...), but is {driver!r}."
            " Leave --storage out to have a PostgreSQL started for you."
        )
    if parsed.port is not None and parsed.port not in PORTS:
        raise InputError(
            f"The storage's port must be from {PORTS[0]} to {PORTS[-1]}, but is {parsed.port}."
        )
    return parsed.set(drivername=DRIVER)


def redact(url: str) -> str:
    """Return a URL that may be shown: its password is replaced by stars."""
    return make_url(url).render_as_string(hide_password=True)


def require_connections(storage: StudyStorage, n_workers: int) -> None:
    """Raise InputError when the server does not let a driver and so many workers connect to it."""
    query = text(
        "SELECT current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int"
        " - coalesce(current_setting('reserved_connections', true)::int, 0)"
    )
    allowed = storage.transact(lambda connection: int(connection.execute(query).scalar_one()))
    needed = MAX_CONNECTIONS * (1 + n_workers) + DRIVERS_LOCK
    if needed > allowed:
        n_possible = max(0, (allowed - DRIVERS_LOCK) // MAX_CONNECTIONS - 1)
        raise InputError(
            f"{n_workers} workers and their driver may need {needed} connections, but the server"
            f" {redact(storage.url)} allows {allowed}. Raise its max_connections, have at most"
            f" {n_possible} workers (--n-workers), or put PgBouncer between (see the README)."
        )


def open_storage(url: str, wait_s: float = 0.0) -> StudyStorage:
    """Connect to a PostgreSQL URL, making Optuna's tables when there are none.

    A server that is away is waited for so long. Raises InputError for a URL of another kind,
    TagsweepError when the server cannot be used.
    """
    full_url = parse_url(url).render_as_string(hide_password=False)
    try:
        storage, found = patiently(lambda: _connect(full_url), patience=Patience(wait_s))
    except (SQLAlchemyError, StorageInternalError, OutageError) as error:
        cause = error.__cause__ if isinstance(error, OutageError) else error
        raise TagsweepError(
            f"The storage {redact(url)} cannot be used: {reason_of(cause or error)}."
            " Check that the server runs and the URL is right, then run the same command again."
        ) from error
    ours = storage.get_head_version()
    if found != ours:
        raise TagsweepError(
            f"The storage {redact(url)} was made by another version of Optuna: its tables are of"
            f" {found}, but must be of {ours}. An older one is brought up to date with"
            " `optuna storage upgrade`; for a newer one, update Optuna."
        )
    return storage


def _connect(full_url: str) -> tuple[StudyStorage, str]:
    """Return the storage, and the version of Optuna's tables in it."""
    pool = {
        "pool_size": MAX_CONNECTIONS,
        "max_overflow": 0,
        "pool_pre_ping": True,
        "connect_args": LIVELY,
    }
    for wait_s in (*_MEETING_WAITS_S, None):
        try:
            # Its check holds one connection while it waits for a second one: behind a pooler,
            # processes that start at once would wait for each other. Ours takes one after the
            # other.
            storage = StudyStorage(full_url, engine_kwargs=pool, skip_compatibility_check=True)
            return storage, storage.get_current_version()
        except DBAPIError as error:
            is_meeting = getattr(error.orig, "pgcode", None) in _MADE_BY_ANOTHER
            if not is_meeting or wait_s is None:
                raise
            time.sleep(wait_s)
    raise AssertionError


@contextmanager
def opened_storage(url: str) -> Iterator[StudyStorage]:
    """Have a storage open for as long as the block lasts; raises as open_storage does."""
    storage = open_storage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def warn_of_spent_sequences(storage: StudyStorage) -> None:
    """Warn of each of the server's counters of Optuna's rows that is more than half used up.

    They count to 2,147,483,647, over all studies that the server has ever had; at the end of one no
    study can go on.
    """
    for one in storage.transact(read_sequences):
        if one.share > SPENT_SHARE:
            logger.warning(
                "%.0f %% of the numbers that %s can give are used up, on the server %s; at 100 %%"
                " no study on it goes on. While no search runs: ALTER TABLE %s ALTER COLUMN %s"
                " TYPE bigint; ALTER SEQUENCE %s AS bigint",
                100 * one.share,
                one.name,
                redact(storage.url),
                one.table,
                one.column,
                one.name,
            )
