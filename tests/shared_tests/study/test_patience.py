import threading
import time
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, PendingRollbackError, ProgrammingError

from shared.config.sweep import SweepConfig
from shared.errors import TagsweepError
from shared.study.budget import ask
from shared.study.patience import Patience, is_outage, patiently
from shared.study.study import open_study
from shared.study.tables.storage import open_storage, opened_storage
from shared.study.tables.study import lock_study
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.trials import Begun


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


def _work_that_fails_once(storage: StudyStorage, trouble: str) -> tuple[int, int]:
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


def test_a_lost_connection_of_a_real_server_is_outlasted(storage: StudyStorage) -> None:
    ending_itself = "SELECT pg_terminate_backend(pg_backend_pid())"
    assert _work_that_fails_once(storage, ending_itself) == (7, 2)


@pytest.mark.parametrize(
    "code",
    "53100 53200 53300 40001 40P01 57P03 25006 55P03 58030 08006".split(),
)
def test_a_full_disk_a_busy_or_read_only_server_and_a_lost_race_are_outlasted(
    storage: StudyStorage, code: str
) -> None:
    raising = f"BEGIN RAISE EXCEPTION 'real trouble' USING ERRCODE = '{code}'; END"
    assert _work_that_fails_once(storage, f"DO $$ {raising} $$") == (7, 2)


def test_a_query_in_a_session_whose_connection_was_lost_is_tried_again(
    storage: StudyStorage,
) -> None:
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
        patiently(_away, patience=Patience(0.3))


def test_whoever_is_closing_does_not_wait() -> None:
    closing = threading.Event()
    closing.set()
    started = time.monotonic()
    with pytest.raises(TagsweepError):
        patiently(_away, closing)
    assert time.monotonic() - started < 1


def test_an_error_of_the_program_is_raised_at_once(storage: StudyStorage) -> None:
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

    patience = Patience(on_outage=told.append)
    patiently(work, patience=patience)
    patiently(lambda: None, patience=patience)
    reason, end = told
    assert reason is not None
    assert "server closed the connection" in reason
    assert end is None


def test_a_server_that_is_read_only_for_a_while_is_outlasted(
    postgres_url: str, storage: StudyStorage, study_name: str
) -> None:
    study = open_study(storage, study_name, SweepConfig(), "f")
    with storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        database = admin.scalar(text("SELECT current_database()"))
        admin.execute(text(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on'))
        try:
            with opened_storage(postgres_url) as other:
                begun: list[Begun] = []
                asking = threading.Thread(target=lambda: begun.extend(ask(other, study._study_id)))
                asking.start()
                asking.join(1)
                assert asking.is_alive()
                assert not begun
                admin.execute(
                    text(f'ALTER DATABASE "{database}" RESET default_transaction_read_only')
                )
                other.engine.dispose()
                asking.join()
        finally:
            admin.execute(text(f'ALTER DATABASE "{database}" RESET ALL'))
    assert len(begun) == 1


@pytest.mark.parametrize("url", ["nobody@/postgres", "postgres@/nothing"])
def test_who_will_never_be_let_in_does_not_wait(postgres_url: str, url: str) -> None:
    wrong = postgres_url.replace("postgres@/postgres", url)
    with pytest.raises(TagsweepError, match="does not exist"):
        open_storage(wrong, wait_s=60)


def test_all_that_optuna_asks_of_a_storage_outlasts_an_outage(
    storage: StudyStorage, study_name: str
) -> None:
    study = open_study(storage, study_name, SweepConfig(), "f")
    for act in (
        lambda: study.set_user_attr("a", 1),
        lambda: study.enqueue_trial({"x": 1}),
        lambda: study.trials,
        lambda: study.user_attrs,
        study.ask,
    ):
        _end_connections(storage)
        act()
    assert len(study.trials) == 1


def test_a_lock_that_another_keeps_is_told_as_an_outage(
    postgres_url: str, storage: StudyStorage, study_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.study.tables.study_storage.MAX_LOCK_S", 0.5)
    study = open_study(storage, study_name, SweepConfig(), "f")
    told: list[str | None] = []
    with opened_storage(postgres_url) as other:
        other.patience = Patience(on_outage=told.append)
        with storage.transaction() as connection:
            lock_study(connection, study._study_id)
            asking = threading.Thread(target=ask, args=(other, study._study_id))
            asking.start()
            asking.join(2)
            assert "lock timeout" in str(told[0])
        asking.join()
    assert told[-1] is None
    assert len(study.trials) == 1


def _end_connections(storage: StudyStorage) -> None:
    """End all of the pool's connections behind its back; a ping would find out otherwise."""
    pool: Any = storage.engine.pool
    pool._pre_ping = False
    with storage.engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        )
