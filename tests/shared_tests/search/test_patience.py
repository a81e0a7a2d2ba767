import threading
import time

import pytest
from optuna.storages import RDBStorage
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, PendingRollbackError, ProgrammingError

from shared.errors import TagsweepError
from shared.search.patience import is_outage, patiently


def _away() -> None:
    raise OperationalError("SELECT 1", {}, ConnectionError("server closed the connection"))


def test_work_is_tried_again_until_the_database_is_back() -> None:
    n_calls = 0

    def work() -> int:
        nonlocal n_calls
        n_calls += 1
        if n_calls < 3:
            _away()
        return 7

    assert patiently(work) == 7
    assert n_calls == 3


def _work_that_fails_once(storage: RDBStorage, trouble: str) -> tuple[int, int]:
    """Return what a transaction that meets trouble at first returns, and how often it was tried."""
    n_calls = 0

    def work() -> int:
        nonlocal n_calls
        n_calls += 1
        with storage.engine.begin() as connection:
            if n_calls == 1:
                connection.execute(text(trouble))
            return int(connection.execute(text("SELECT 7")).scalar_one())

    return patiently(work), n_calls


def test_a_lost_connection_of_a_real_server_is_outlasted(storage: RDBStorage) -> None:
    ending_itself = "SELECT pg_terminate_backend(pg_backend_pid())"
    assert _work_that_fails_once(storage, ending_itself) == (7, 2)


@pytest.mark.parametrize("code", ["53100", "53200", "53300", "40001", "40P01", "57P03"])
def test_a_full_disk_a_busy_server_and_a_lost_race_are_outlasted(
    storage: RDBStorage, code: str
) -> None:
    raising = f"BEGIN RAISE EXCEPTION 'real trouble' USING ERRCODE = '{code}'; END"
    assert _work_that_fails_once(storage, f"DO $$ {raising} $$") == (7, 2)


def test_a_query_in_a_session_whose_connection_was_lost_is_tried_again(storage: RDBStorage) -> None:
    with storage.engine.connect() as connection:
        own = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with storage.engine.begin() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": own})
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT 7"))
        with pytest.raises(PendingRollbackError) as raised:
            connection.execute(text("SELECT 7"))
    assert is_outage(raised.value)


def test_an_outage_that_lasts_is_one_clear_error() -> None:
    with pytest.raises(
        TagsweepError, match="could not be used for .* server closed the connection"
    ):
        patiently(_away, max_outage_s=0.3)


def test_whoever_is_closing_does_not_wait() -> None:
    closing = threading.Event()
    closing.set()
    started = time.monotonic()
    with pytest.raises(TagsweepError):
        patiently(_away, closing)
    assert time.monotonic() - started < 1


def test_an_error_of_the_program_is_raised_at_once(storage: RDBStorage) -> None:
    def work() -> None:
        with storage.engine.begin() as connection:
            connection.execute(text("SELECT nonsense"))

    with pytest.raises(ProgrammingError):
        patiently(work)


def test_an_outage_is_told_when_it_begins_and_when_it_is_over() -> None:
    told: list[str | None] = []
    outcomes = iter([_away, _away, lambda: None])

    def work() -> None:
        next(outcomes)()

    patiently(work, on_outage=told.append)
    patiently(lambda: None, on_outage=told.append)
    reason, end = told
    assert reason is not None
    assert "server closed the connection" in reason
    assert end is None
