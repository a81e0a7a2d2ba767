import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from optuna.study import Study
from optuna.trial import Trial, TrialState
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from shared.config.sections import WorkersConfig
from shared.config.sweep import SweepConfig
from shared.study import liveness
from shared.study.attributes import (
    CHECKPOINTS,
    FAILURE,
    LOSSES,
    RETRY_OF,
    Failure,
    FailureKind,
    Owner,
)
from shared.study.budget import ask
from shared.study.liveness import Reaper, owners_of_running, retry
from shared.study.study import open_study
from shared.study.tables.read import read_heartbeats
from shared.study.tables.storage import open_storage, opened_storage
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.write import beat

CONFIG = SweepConfig()
WORKERS = WorkersConfig(heartbeat_interval_s=5, heartbeat_grace_s=30, max_retries=1)
LOST = Failure(FailureKind.LOST, "lost: a test")
BACK = Failure(FailureKind.HANDED_BACK, "interrupted: a test")


class Clock:
    """A monotonic clock that a test moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def study(storage: StudyStorage, study_name: str) -> Study:
    return open_study(storage, study_name, CONFIG, "f")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_reaper(storage: StudyStorage, study: Study, clock: Clock) -> Callable[[str], Reaper]:
    """Return a function that makes a worker's reaper, by the worker's name."""
    return lambda name: Reaper(storage, study._study_id, name, WORKERS, clock=clock)


def _ask(study: Study, storage: StudyStorage) -> Trial:
    (begun,) = ask(storage, study._study_id)
    return Trial(study, begun.trial_id)


def _id(trial: Trial) -> int:
    return trial._trial_id


def _beat(storage: StudyStorage, *trials: Trial) -> set[int]:
    ids = [_id(trial) for trial in trials]
    return storage.transact(lambda connection: beat(connection, ids))


def _look(reaper: Reaper, clock: Clock, seconds: float, every_s: float = 5.0) -> list[int]:
    """Look for so long, and return the ids of the trials that were taken."""
    taken = []
    for _ in range(round(seconds / every_s)):
        clock.now_s += every_s
        taken += reaper.look()
    return taken


def test_a_trial_whose_heartbeat_stands_still_through_the_grace_is_taken(
    study: Study, storage: StudyStorage, make_reaper, clock: Clock
) -> None:
    silent, alive = _ask(study, storage), _ask(study, storage)
    reaper = make_reaper("a")
    for _ in range(6):
        assert _look(reaper, clock, 5) == []
        _beat(storage, alive)
    assert _look(reaper, clock, 5) == [_id(silent)]
    assert [t.state for t in study.trials] == [
        TrialState.FAIL,
        TrialState.RUNNING,
        TrialState.WAITING,
    ]
    assert study.trials[0].user_attrs[FAILURE] == "lost: no sign of life for 30 s"


def test_a_trial_without_any_heartbeat_is_taken_too(study: Study, make_reaper, clock) -> None:
    trial = study.ask()
    assert _look(make_reaper("a"), clock, 30) == []
    assert _look(make_reaper("a"), clock, 35) == [_id(trial)]


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_set_makes_no_living_trial_look_dead_and_no_dead_one_alive(
    study: Study, storage: StudyStorage, make_reaper, clock: Clock, hours: int
) -> None:
    silent, alive = _ask(study, storage), _ask(study, storage)
    reaper = make_reaper("a")
    assert _look(reaper, clock, 5) == []
    with storage.engine.begin() as connection:
        step = "UPDATE trial_heartbeats SET heartbeat = heartbeat + :hours * interval '1 h'"
        connection.execute(text(step), {"hours": hours})
    taken = []
    for _ in range(8):
        taken += _look(reaper, clock, 5)
        _beat(storage, alive)
    assert taken == [_id(silent)]


def test_an_outage_that_the_observer_met_counts_for_nothing(
    study: Study, storage: StudyStorage, make_reaper, clock: Clock, monkeypatch
) -> None:
    trial, reaper = _ask(study, storage), make_reaper("a")
    assert _look(reaper, clock, 25) == []
    monkeypatch.setattr(liveness, "read_heartbeats", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _look(reaper, clock, 5)
    monkeypatch.undo()
    assert _look(reaper, clock, 30) == []
    assert _look(reaper, clock, 5) == [_id(trial)]


def test_a_heartbeat_that_comes_at_the_last_moment_saves_the_trial(
    study: Study, storage: StudyStorage
) -> None:
    trial = _ask(study, storage)
    seen: dict[int, datetime | None] = storage.transact(
        lambda connection: read_heartbeats(connection, study._study_id)
    )
    _beat(storage, trial)
    assert retry(storage, study._study_id, seen, LOST, heartbeats=seen) == []
    assert study.trials[0].state == TrialState.RUNNING


def test_a_trial_that_waited_long_for_the_lock_is_born_alive(
    postgres_url: str, study: Study, storage: StudyStorage
) -> None:
    """Its first heartbeat is of when it began, and not of when it began to wait."""
    with opened_storage(postgres_url) as other, other.transaction() as connection:
        liveness.lock_study(connection, study._study_id)
        asking = threading.Thread(target=ask, args=(storage, study._study_id))
        asking.start()
        time.sleep(2)
        connection.rollback()
        asking.join()
        age_s = "SELECT extract(epoch FROM clock_timestamp() at time zone 'UTC' - max(heartbeat))"
        with other.engine.begin() as later:
            assert later.execute(text(f"{age_s} FROM trial_heartbeats")).scalar_one() < 1


def test_one_worker_watches_all_heartbeats_and_the_others_only_that_it_does(
    study: Study, storage: StudyStorage, make_reaper, clock: Clock, monkeypatch
) -> None:
    n_reads, read = 0, read_heartbeats

    def counted(*arguments: Any) -> Any:
        nonlocal n_reads
        n_reads += 1
        return read(*arguments)

    monkeypatch.setattr(liveness, "read_heartbeats", counted)
    _ask(study, storage)
    reapers = [make_reaper(f"worker {i}") for i in range(10)]
    for _ in range(5):
        clock.now_s += 5
        for reaper in reapers:
            assert reaper.look() == []
    assert n_reads == 5


def test_another_takes_the_place_of_a_reaper_that_died_and_its_trials_too(
    study: Study, storage: StudyStorage, make_reaper, clock: Clock
) -> None:
    trial, dying, other = _ask(study, storage), make_reaper("a"), make_reaper("b")
    assert dying.look() == other.look() == []
    assert _look(other, clock, 30) == []
    assert _look(other, clock, 10) == [_id(trial)]


def test_a_reaper_that_is_too_slow_to_see_anything_lets_another_have_the_role(
    study: Study, storage: StudyStorage, make_reaper, clock: Clock
) -> None:
    trial, slow, other, taken = _ask(study, storage), make_reaper("a"), make_reaper("b"), []
    for second in range(0, 240, 5):
        clock.now_s = second
        if second % 20 == 0:
            assert slow.look() == []
        taken += other.look()
    assert taken == [_id(trial)]


def test_reapers_at_the_same_time_retry_a_trial_once(
    postgres_url: str, study: Study, storage: StudyStorage
) -> None:
    trials = [_ask(study, storage) for _ in range(3)]
    ids = [_id(trial) for trial in trials]
    start, reaped = threading.Barrier(4), []

    def work() -> None:
        with opened_storage(postgres_url) as own:
            start.wait()
            reaped.extend(retry(own, study._study_id, ids, LOST))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reaped) == ids
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL] * 3 + [TrialState.WAITING] * 3


def test_many_trials_are_run_again_in_a_handful_of_statements(
    study: Study, storage: StudyStorage
) -> None:
    trials = [Trial(study, one.trial_id) for one in ask(storage, study._study_id, n=32)]
    for trial in trials:
        for i in range(8):
            trial.suggest_float(f"x{i}", 0, 1)
    statements: list[str] = []
    event.listen(
        storage.engine,
        "before_cursor_execute",
        lambda _conn, _cursor, statement, *_: statements.append(statement),
    )
    assert len(retry(storage, study._study_id, [_id(t) for t in trials], LOST)) == 32
    assert len(statements) < 25
    statements.clear()
    assert retry(storage, study._study_id, [_id(t) for t in trials], LOST) == []
    assert len(statements) < 6


def test_a_trial_runs_again_with_its_parameters(study: Study, storage: StudyStorage) -> None:
    trial = _ask(study, storage)
    x = trial.suggest_float("x", 0, 1)
    trial.report(0.5, 0)
    assert retry(storage, study._study_id, [_id(trial)], LOST) == [_id(trial)]
    again = _ask(study, storage)
    assert again.number == 1
    assert again.suggest_float("x", 0, 1) == x
    assert again.user_attrs == {RETRY_OF: 0}
    failed, repeated = study.trials
    assert failed.state == TrialState.FAIL
    assert failed.user_attrs[FAILURE] == "lost: a test"
    assert repeated.system_attrs["failed_trial"] == 0
    assert repeated.system_attrs["retry_history"] == [0]
    assert repeated.system_attrs[CHECKPOINTS] == [_id(trial)]
    assert repeated.intermediate_values == {}


def test_a_retry_of_a_retry_names_the_first_trial(study: Study, storage: StudyStorage) -> None:
    trials = [_ask(study, storage)]
    for _ in range(2):
        retry(storage, study._study_id, [_id(trials[-1])], BACK)
        trials.append(_ask(study, storage))
    first, second, third = trials
    assert third.user_attrs == {RETRY_OF: 0}
    assert study.trials[2].system_attrs[CHECKPOINTS] == [_id(second), _id(first)]
    assert study.trials[2].system_attrs["retry_history"] == [0, 1]


def test_a_trial_is_lost_no_more_often_than_allowed(study: Study, storage: StudyStorage) -> None:
    for _ in range(3):
        retry(storage, study._study_id, [_id(_ask(study, storage))], LOST, 2)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 3


def test_handing_back_in_order_uses_up_no_retry(study: Study, storage: StudyStorage) -> None:
    for _ in range(6):
        retry(storage, study._study_id, [_id(_ask(study, storage))], BACK)
    retry(storage, study._study_id, [_id(_ask(study, storage))], LOST, 1)
    assert study.trials[-1].state == TrialState.WAITING
    assert study.trials[-1].system_attrs[LOSSES] == 1


def test_the_late_worker_of_a_trial_is_told_that_it_was_taken(
    study: Study, storage: StudyStorage
) -> None:
    taken, own = _ask(study, storage), _ask(study, storage)
    retry(storage, study._study_id, [_id(taken)], LOST)
    assert _beat(storage, taken, own) == {_id(taken)}


def test_what_has_ended_is_not_retried(study: Study, storage: StudyStorage) -> None:
    trial = _ask(study, storage)
    study.tell(trial, 0.5)
    assert retry(storage, study._study_id, [_id(trial)], LOST) == []
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def test_no_trial_is_failed_that_cannot_be_enqueued_again(
    study: Study, storage: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = _ask(study, storage)
    monkeypatch.setattr(liveness, "enqueue_again", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        retry(storage, study._study_id, [_id(trial)], LOST)
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]
    assert study.trials[0].user_attrs == {}


def test_running_trials_are_known_by_their_owners(study: Study, storage: StudyStorage) -> None:
    pooled, attached, nameless, ended = (_ask(study, storage) for _ in range(4))
    for trial, owner in ((pooled, Owner("worker-1", "d")), (attached, Owner("worker-1"))):
        for key, value in owner.attrs.items():
            trial.set_user_attr(key, value)
    study.tell(ended, 0.5)
    assert owners_of_running(storage, study._study_id) == {
        _id(pooled): Owner("worker-1", "d"),
        _id(attached): Owner("worker-1"),
        _id(nameless): Owner(),
    }


def test_a_client_that_is_cut_off_with_the_lock_in_its_hands_is_soon_let_go(
    postgres_url: str, study: Study, storage: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.study.tables.study_storage.MAX_IDLE_S", 1.0)
    other = open_storage(postgres_url)
    cut_off = other.transaction()
    liveness.lock_study(cut_off.__enter__(), study._study_id)
    assert ask(storage, study._study_id)
    with pytest.raises(OperationalError):
        cut_off.__exit__(None, None, None)
    other.engine.dispose()
