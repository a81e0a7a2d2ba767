"""Open the PostgreSQL storage of a study."""

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from shared.errors import InputError, TagsweepError

MAX_CONNECTIONS = 3
"""Connections a process may hold: Optuna's, the lock on asking, and the driver's own lock."""


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
    """Raise InputError when the server does not let a driver and so many workers connect."""
    query = text(
        "SELECT current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int"
        " - coalesce(current_setting('reserved_connections', true)::int, 0)"
    )
    with storage.engine.connect() as connection:
        allowed = int(connection.execute(query).scalar_one())
    needed = MAX_CONNECTIONS * (1 + n_workers)
    if needed > allowed:
        raise InputError(
            f"{n_workers} workers and their driver may need {needed} connections, but the server"
            f" {redact(storage.url)} allows {allowed}. Raise its max_connections, or have at most"
            f" {max(0, allowed // MAX_CONNECTIONS - 1)} workers (--n-workers)."
        )


def open_storage(url: str) -> RDBStorage:
    """Connect to a PostgreSQL URL, making Optuna's tables when there are none.

    Raises InputError for a URL of another kind, TagsweepError when the server cannot be used.
    """
    full_url = parse_url(url).render_as_string(hide_password=False)
    pool = {"pool_size": MAX_CONNECTIONS, "max_overflow": 0, "pool_pre_ping": True}
    try:
        return RDBStorage(full_url, engine_kwargs=pool)
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise TagsweepError(
            f"The storage {redact(url)} cannot be used: {reason}."
            " Check that the server runs and the URL is right, then run the same command again."
        ) from error
    except RuntimeError as error:
        raise TagsweepError(
            f"The storage {redact(url)} was made by another version of Optuna: {error}"
        ) from error


@contextmanager
def opened_storage(url: str) -> Iterator[RDBStorage]:
    """Have a storage open for as long as the block lasts; raises as open_storage does."""
    storage = open_storage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()
