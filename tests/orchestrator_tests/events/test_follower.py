from pathlib import Path
from typing import Any

import pytest
from optuna.study import Study
from optuna.trial import TrialState
from sqlalchemy import event

from orchestrator.events.events import Events, read_events
from orchestrator.events.follower import Follower
from orchestrator.events.prometheus import Exposition
from shared.config.sweep import SweepConfig
from shared.study.attributes import WORKER, Failure, FailureKind
from shared.study.liveness import retry
from shared.study.study import StudyProgress, open_study
from shared.study.tables.study_storage import StudyStorage
from tests.rows import rows_read
from workers import PoolState

NOTHING = StudyProgress(complete=0, pruned=0, failed=0, running=0, waiting=0, best=None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def study(storage: StudyStorage, study_name: str) -> Study:
    return open_study(storage, study_name, SweepConfig(), "f")


def _follower(path: Path, study: Study, storage: StudyStorage) -> Follower:
    return Follower(Events(path, study.study_name, Exposition("s", 4)), study, storage)


def _about(path: Path, *fields: str) -> list[tuple[Any, ...]]:
    return [(e["event"], *map(e.get, fields)) for e in read_events(path)]


def test_a_trial_that_ends_is_described(study: Study, storage: StudyStorage, path: Path) -> None:
    trial = study.ask()
    follower = _follower(path, study, storage)
    follower.follow_trials()
    assert not path.exists(), "nothing has happened"
    for name, value in {WORKER: "worker-1", "epochs": 3, "seconds": 0.5}.items():
        trial.set_user_attr(name, value)
    study.tell(trial, 0.25)
    follower.follow_trials()
    (found,) = read_events(path)
    del found["time"]
    assert found == {
        "event": "trial_finished",
        "study": study.study_name,
        "number": 0,
        "state": "COMPLETE",
        "value": 0.25,
        "epochs": 3,
        "seconds": 0.5,
        "worker": "worker-1",
        "reason": None,
    }


def test_trials_that_end_while_the_driver_is_away_are_written_once(
    study: Study, storage: StudyStorage, path: Path
) -> None:
    study.tell(study.ask(), 0.5)
    _follower(path, study, storage).follow_trials()
    study.tell(study.ask(), state=TrialState.PRUNED)
    running = study.ask()
    back = _follower(path, study, storage)
    back.follow_trials()
    back.follow_trials()
    study.tell(running, 0.25)
    _follower(path, study, storage).follow_trials()
    back.follow_trials()
    assert _about(path, "number", "state") == [
        ("trial_finished", 0, "COMPLETE"),
        ("trial_finished", 1, "PRUNED"),
        ("trial_finished", 2, "COMPLETE"),
    ]


def test_trials_that_are_lost_handed_back_or_failed_say_why(
    study: Study, storage: StudyStorage, path: Path
) -> None:
    lost, given, failed = (study.ask() for _ in range(3))
    for kind, reason, trial in (
        (FailureKind.HANDED_BACK, "interrupted: enough", given),
        (FailureKind.LOST, "lost: no sign of life", lost),
    ):
        retry(storage, study._study_id, [trial._trial_id], Failure(kind, reason))
    reason = "diverged: the loss was not finite in epoch 1"
    for key, value in Failure(FailureKind.DIVERGED, reason).attrs.items():
        failed.set_user_attr(key, value)
    study.tell(failed, state=TrialState.FAIL)
    follower = _follower(path, study, storage)
    follower.follow_trials()
    follower.follow_trials()
    assert _about(path, "number", "retry_of", "reason") == [
        ("trial_lost", 0, None, "lost: no sign of life"),
        ("trial_handed_back", 1, None, "interrupted: enough"),
        ("trial_failed", 2, None, "diverged: the loss was not finite in epoch 1"),
        ("trial_retried", 3, 1, "interrupted: enough"),
        ("trial_retried", 4, 0, "lost: no sign of life"),
    ]


def test_a_driver_that_finds_many_trials_takes_some_at_a_time(
    study: Study, storage: StudyStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.events.follower.NEW_AT_ONCE", 2)
    running = [study.ask() for _ in range(3)]
    given = study.ask()
    for _ in range(9):
        trial = study.ask()
        trial.set_user_attr(WORKER, "worker-1")
        trial.set_user_attr("of no interest", "x" * 1000)
        study.tell(trial, 0.5)
    enough = Failure(FailureKind.HANDED_BACK, "interrupted: enough")
    retry(storage, study._study_id, [given._trial_id], enough)
    follower = _follower(path, study, storage)
    with rows_read(storage) as rows:
        follower.follow_trials()
    assert max(rows) <= len(running) + 2, "states are the most, of running trials and two new ones"
    follower.follow_trials()
    numbers = [number for _, number in _about(path, "number")]
    assert sorted(numbers) == [3, *range(4, 13), 13]
    assert _about(path, "number", "reason")[-1] == ("trial_retried", 13, "interrupted: enough")


def test_a_look_while_nothing_happens_is_one_query(
    study: Study, storage: StudyStorage, path: Path
) -> None:
    study.tell(study.ask(), 0.5)
    study.ask()
    follower = _follower(path, study, storage)
    follower.follow_trials()
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(storage.engine, "before_cursor_execute", note)
    follower.follow_trials()
    event.remove(storage.engine, "before_cursor_execute", note)
    assert len(statements) == 2, "after what bounds the waits of the transaction"


def test_workers_that_come_and_go_are_written(
    study: Study, storage: StudyStorage, path: Path
) -> None:
    follower = _follower(path, study, storage)
    for state in (
        PoolState(0, 2),
        PoolState(2),
        PoolState(2),
        PoolState(1, lost=(1,)),
        PoolState(1, lost=(1,)),
        PoolState(0, lost=(1,)),
    ):
        follower.look(state, NOTHING, 1.0)
    assert _about(path, "workers", "worker") == [
        ("workers_joined", 2, None),
        ("workers_left", 1, None),
        ("worker_lost", None, "worker-1"),
        ("workers_left", 0, None),
    ]


def test_an_outage_is_written(study: Study, storage: StudyStorage, path: Path) -> None:
    follower = _follower(path, study, storage)
    for reason in ("server closed the connection", None):
        follower.on_outage(reason)
    assert _about(path, "reason") == [
        ("database_away", "server closed the connection"),
        ("database_back", None),
    ]
