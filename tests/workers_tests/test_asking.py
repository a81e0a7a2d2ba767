import time
from collections.abc import Callable

import pytest
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import TrialState

from shared.search.study import WORKER, load_study
from workers import WorkerSpec
from workers.asking import Asker

LONG_S = 30.0


@pytest.fixture
def spec(make_spec: Callable[..., WorkerSpec]) -> WorkerSpec:
    return make_spec(study={"n_trials": 3})


@pytest.fixture
def study(storage: RDBStorage, spec: WorkerSpec) -> Study:
    return load_study(storage, spec.study_name, spec.config, worker=0)


def _asker(study: Study, storage: RDBStorage, spec: WorkerSpec, n_ahead: int) -> Asker:
    return Asker(study, storage, spec, "worker-0", n_inputs=8, n_ahead=n_ahead)


def _wait_for_trials(study: Study, count: int) -> None:
    deadline = time.monotonic() + LONG_S
    while len(study.get_trials(deepcopy=False)) < count and time.monotonic() < deadline:
        time.sleep(0.02)


def test_trials_are_asked_for_before_they_are_taken(storage, study, spec) -> None:
    asker = _asker(study, storage, spec, n_ahead=2)
    _wait_for_trials(study, 2)
    time.sleep(0.3)
    assert len(study.trials) == 2
    assert {trial.user_attrs[WORKER] for trial in study.trials} == {"worker-0"}
    assert [asked.trial.number for asked in asker.close()] == [0, 1]


def test_a_taken_trial_makes_room_for_the_next(storage, study, spec) -> None:
    asker = _asker(study, storage, spec, n_ahead=1)
    taken = asker.take(LONG_S)
    assert taken
    assert 1 <= len(taken.params.layers) <= 2
    _wait_for_trials(study, 2)
    assert [asked.trial.number for asked in asker.close()] == [1]


def test_it_is_exhausted_when_the_budget_is_spent(storage, study, spec) -> None:
    asker = _asker(study, storage, spec, n_ahead=1)
    for _ in range(3):
        taken = asker.take(LONG_S)
        assert taken
        study.tell(taken.trial, state=TrialState.PRUNED)
    assert asker.take(LONG_S) is None
    assert asker.is_exhausted
    assert asker.close() == []


def test_nothing_comes_while_others_run_the_last_trials(storage, study, spec) -> None:
    for _ in range(3):
        study.ask()
    asker = _asker(study, storage, spec, n_ahead=1)
    assert asker.take(timeout_s=0.7) is None
    assert not asker.is_exhausted
    study.tell(0, state=TrialState.FAIL)
    asked = asker.take(LONG_S)
    assert asked
    assert asked.trial.number == 3
    asker.close()
