import os
import socket
import time
from collections.abc import Callable

import pytest
from optuna.study import Study
from optuna.trial import TrialState

from shared.study.attributes import DRIVER, NODE, PROCESS, WORKER, Owner
from shared.study.study import load_study
from shared.study.tables.study_storage import StudyStorage
from tests.rows import statements_of
from workers import WorkerSpec
from workers.asking import Asker
from workers.heartbeat import Heartbeat

LONG_S = 30.0


@pytest.fixture
def spec(make_spec: Callable[..., WorkerSpec]) -> WorkerSpec:
    return make_spec(study={"n_trials": 3})


@pytest.fixture
def study(storage: StudyStorage, spec: WorkerSpec) -> Study:
    return load_study(storage, spec.study_name, spec.config)


@pytest.fixture
def make_asker(
    study: Study, storage: StudyStorage, heartbeat: Heartbeat, spec: WorkerSpec
) -> Callable[[int], Asker]:
    """Return a function that makes an asker so many trials ahead."""
    return lambda n_ahead: Asker(
        study,
        storage,
        heartbeat,
        spec,
        Owner("worker-0", "d"),
        widths={"encoder": 8},
        n_ahead=n_ahead,
    )


def _wait_for_trials(study: Study, count: int) -> None:
    deadline = time.monotonic() + LONG_S
    while len(study.get_trials(deepcopy=False)) < count and time.monotonic() < deadline:
        time.sleep(0.02)


def test_trials_are_asked_for_before_they_are_taken(study, make_asker) -> None:
    asker = make_asker(2)
    _wait_for_trials(study, 2)
    time.sleep(0.3)
    assert len(study.trials) == 2
    assert {trial.user_attrs[WORKER] for trial in study.trials} == {"worker-0"}
    assert {trial.user_attrs[DRIVER] for trial in study.trials} == {"d"}
    assert {trial.user_attrs[NODE] for trial in study.trials} == {socket.gethostname()}
    assert {trial.user_attrs[PROCESS] for trial in study.trials} == {os.getpid()}
    assert [asked.number for asked in asker.close()] == [0, 1]


def test_no_trial_runs_while_the_study_is_read(study, make_asker, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("no database")

    monkeypatch.setattr("workers.asking.History.refresh", fail)
    asker = make_asker(1)
    with pytest.raises(ConnectionError, match="no database"):
        asker.take(LONG_S)
    assert study.trials == []


def test_a_taken_trial_makes_room_for_the_next(study, make_asker) -> None:
    asker = make_asker(1)
    taken = asker.take(LONG_S)
    assert taken
    assert 1 <= len(taken.params.layers) <= 2
    _wait_for_trials(study, 2)
    assert [asked.number for asked in asker.close()] == [1]


def test_it_is_exhausted_when_the_budget_is_spent(study, make_asker) -> None:
    asker = make_asker(1)
    for _ in range(3):
        taken = asker.take(LONG_S)
        assert taken
        study.tell(taken.number, state=TrialState.PRUNED)
    assert asker.take(LONG_S) is None
    assert asker.is_exhausted
    assert asker.close() == []


def test_nothing_comes_while_others_run_the_last_trials(study, make_asker) -> None:
    for _ in range(3):
        study.ask()
    asker = make_asker(1)
    assert asker.take(timeout_s=0.7) is None
    assert not asker.is_exhausted
    study.tell(0, state=TrialState.FAIL)
    asked = asker.take(LONG_S)
    assert asked
    assert asked.number == 3
    asker.close()


def test_who_waits_for_room_keeps_nobody_from_asking(
    study, storage, make_asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.asking.RETRY_ASK_S", 0.05)
    for _ in range(3):
        study.ask()
    with statements_of(storage) as statements:
        asker = make_asker(1)
        assert asker.take(timeout_s=2) is None
        asker.close()
    counts = [one for one in statements if "GROUP BY" in one]
    locks = [one for one in statements if "FROM studies" in one and "FOR NO KEY UPDATE" in one]
    assert len(counts) > 3
    assert len(locks) == 1
