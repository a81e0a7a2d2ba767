"""Open the PostgreSQL storage of a study."""

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import scoped_session, sessionmaker

from shared.errors import InputError, TagsweepError
from shared.search.bulk_storage import BulkStorage

MAX_CONNECTIONS = 2
"""Connections a worker may hold: one may wait for its turn to ask while the other reports."""
DRIVERS_LOCK = 1
"""The connection that a driver has beside these, for as long as it drives."""


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


def parse_url(url: str) -> URL:
    """Read a PostgreSQL URL; raise InputError for any other, never showing a password."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InputError(
            "The storage must be a URL such as postgresql://user@host/database, but cannot be read."
        ) from error
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
    return parsed.set(drivername=DRIVER)


def redact(url: str) -> str:
    """Return a URL that may be shown: its password is replaced by stars."""
    return make_url(url).render_as_string(hide_password=True)


def require_connections(storage: RDBStorage, n_workers: int) -> None:
    """Raise InputError when the server does not let a driver and so many workers connect to it."""
    query = text(
        "SELECT current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int"
        " - coalesce(current_setting('reserved_connections', true)::int, 0)"
    )
    with storage.engine.connect() as connection:
        allowed = int(connection.execute(query).scalar_one())
    needed = MAX_CONNECTIONS * (1 + n_workers) + DRIVERS_LOCK
    if needed > allowed:
        n_possible = max(0, (allowed - DRIVERS_LOCK) // MAX_CONNECTIONS - 1)
        raise InputError(
            f"{n_workers} workers and their driver may need {needed} connections, but the server"
            f" {redact(storage.url)} allows {allowed}. Raise its max_connections, have at most"
            f" {n_possible} workers (--n-workers), or put PgBouncer between (see the README)."
        )


def open_storage(url: str) -> RDBStorage:
    """Connect to a PostgreSQL URL, making Optuna's tables when there are none.

    Raises InputError for a URL of another kind, TagsweepError when the server cannot be used.
    """
    full_url = parse_url(url).render_as_string(hide_password=False)
    pool = {
        "pool_size": MAX_CONNECTIONS,
        "max_overflow": 0,
        "pool_pre_ping": True,
        "connect_args": LIVELY,
    }
    try:
        # Its check holds one connection while it waits for a second one: behind a pooler, processes
        # that start at once would wait for each other. Ours takes one after the other.
        storage = BulkStorage(full_url, engine_kwargs=pool, skip_compatibility_check=True)
        found, ours = storage.get_current_version(), storage.get_head_version()
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise TagsweepError(
            f"The storage {redact(url)} cannot be used: {reason}."
            " Check that the server runs and the URL is right, then run the same command again."
        ) from error
    if found != ours:
        raise TagsweepError(
            f"The storage {redact(url)} was made by another version of Optuna: its tables are of"
            f" {found}, but must be of {ours}. An older one is brought up to date with"
            " `optuna storage upgrade`; for a newer one, update Optuna."
        )
    return storage


@contextmanager
def opened_storage(url: str) -> Iterator[RDBStorage]:
    """Have a storage open for as long as the block lasts; raises as open_storage does."""
    storage = open_storage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def within(storage: RDBStorage, connection: Connection) -> RDBStorage:
    """Return the storage as seen from inside a transaction, of which all that it does is a part."""
    inner: RDBStorage = object.__new__(RDBStorage)
    session = sessionmaker(connection, join_transaction_mode="create_savepoint")
    inner.__dict__ = storage.__dict__ | {"scoped_session": scoped_session(session)}
    return inner
