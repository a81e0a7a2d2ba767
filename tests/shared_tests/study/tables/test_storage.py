import subprocess
import sys

import pytest
from sqlalchemy import text

from shared.errors import InputError, TagsweepError
from shared.study.tables.storage import open_storage, parse_url, redact, require_connections
from shared.study.tables.study_storage import StudyStorage

OPENING = "from shared.study.tables.storage import open_storage; "
SECRET = "s3cret"  # noqa: S105  the password that must not be seen


@pytest.mark.parametrize("url", ["postgresql://u@h/db", "postgresql+psycopg2://u:p@h:5/db"])
def test_postgresql_is_accepted_with_psycopg2(url: str) -> None:
    assert parse_url(url).drivername == "postgresql+psycopg2"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:///study.db", "SQLite"),
        (f"mysql://user:{SECRET}@host/db", "'mysql'"),
        (f"postgresql+asyncpg://user:{SECRET}@host/db", "asyncpg"),
        ("study.db", "cannot be read"),
        (f"postgresql://user:{SECRET}:x@host:abc/db", "Is its port a number"),
        (f"postgresql://user:{SECRET}@host:abc/db", "Is its port a number"),
        (f"postgresql://user:{SECRET}@host:65536/db", "port must be from 1 to 65535, but is 65536"),
    ],
)
def test_another_storage_is_refused_with_a_reason(url: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        open_storage(url)
    assert SECRET not in str(refused.value)


def test_a_password_is_never_shown() -> None:
    assert SECRET not in redact(f"postgresql://user:{SECRET}@host/db")


def test_a_server_that_is_not_there_is_one_clear_error_without_the_password() -> None:
    with pytest.raises(TagsweepError, match="cannot be used") as refused:
        open_storage(f"postgresql://user:{SECRET}@127.0.0.1:1/db")
    assert SECRET not in str(refused.value)
    assert "Connection refused" in str(refused.value)


def test_processes_that_make_the_tables_at_once_all_succeed(
    postgres_url: str, storage: StudyStorage, study_name: str
) -> None:
    name = f"new_{study_name[-8:]}"
    with storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        admin.execute(text(f"CREATE DATABASE {name}"))
    url = postgres_url.replace("/postgres?", f"/{name}?")
    opening = [sys.executable, "-c", f"{OPENING}open_storage({url!r})"]
    starters = [subprocess.Popen(opening) for _ in range(4)]
    assert [starter.wait() for starter in starters] == [0] * 4


def test_more_workers_than_the_server_lets_connect_are_refused(storage: StudyStorage) -> None:
    require_connections(storage, 240)
    with pytest.raises(InputError, match=r"300 workers .* need 603 .* at most 24\d workers"):
        require_connections(storage, 300)


def test_the_server_is_postgresql(storage: StudyStorage) -> None:
    with storage.engine.connect() as connection:
        version = connection.execute(text("SELECT version()")).scalar_one()
    assert version.startswith("PostgreSQL 18")


def test_tables_of_another_version_of_optuna_are_refused(
    postgres_url: str, storage: StudyStorage
) -> None:
    ours = storage.get_current_version()
    with storage.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v9.9.9'"))
    try:
        with pytest.raises(TagsweepError, match=f"tables are of v9.9.9, but must be of {ours}"):
            open_storage(postgres_url)
    finally:
        with storage.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": ours})
