import threading
import time
from unittest.mock import Mock

import pytest
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import Trial, TrialState

from shared.config import SweepConfig
from shared.search import bulk_write, liveness
from shared.search.budget import ask
from shared.search.bulk_write import beat, lock_study
from shared.search.liveness import reap, retry, workers_of_running
from shared.search.storage import open_storage, opened_storage
from shared.search.study import CHECKPOINTS, FAILURE, RETRY_OF, WORKER, load_study, open_study
from shared.sections import StudyConfig

CONFIG = SweepConfig()
LIMITS = StudyConfig(n_trials=100)
GRACE_S = 0.3


@pytest.fixture
def study(storage: RDBStorage, study_name: str) -> Study:
    return open_study(storage, study_name, CONFIG, "f")


def _ask(study: Study, storage: RDBStorage) -> Trial:
    (begun,) = ask(storage, study._study_id, LIMITS)
    return Trial(study, begun.trial_id)


def _id(trial: Trial) -> int:
    return trial._trial_id


def test_a_trial_that_is_beaten_for_is_left_alone(study: Study, storage: RDBStorage) -> None:
    trial = _ask(study, storage)
    for _ in range(4):
        time.sleep(GRACE_S / 2)
        assert beat(storage, [_id(trial)]) == set()
        assert reap(study, storage, GRACE_S, max_retries=1) == []
    assert study.trials[0].state == TrialState.RUNNING


def test_heartbeats_are_of_one_time_wherever_a_node_is(
    study: Study, storage: RDBStorage, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = _ask(study, storage)
    monkeypatch.setenv("PGTZ", "America/New_York")
    far_away = open_storage(postgres_url)
    assert beat(far_away, [_id(trial)]) == set()
    assert reap(study, storage, 60, max_retries=1) == []
    assert reap(study, far_away, 60, max_retries=1) == []
    far_away.remove_session()
    far_away.engine.dispose()


def test_a_trial_without_a_heartbeat_is_failed_and_runs_again_with_its_parameters(
    study: Study, storage: RDBStorage
) -> None:
    trial = _ask(study, storage)
    x = trial.suggest_float("x", 0, 1)
    trial.report(0.5, 0)
    time.sleep(1.5 * GRACE_S)
    assert reap(study, storage, GRACE_S, max_retries=1) == [_id(trial)]
    again = _ask(study, storage)
    assert again.number == 1
    assert again.suggest_float("x", 0, 1) == x
    assert again.user_attrs == {RETRY_OF: 0}
    failed, repeated = study.trials
    assert failed.state == TrialState.FAIL
    assert failed.user_attrs[FAILURE] == "lost: no sign of life for 0.3 s"
    assert repeated.system_attrs["retry_history"] == [0]
    assert repeated.system_attrs[CHECKPOINTS] == [_id(trial)]
    assert repeated.intermediate_values == {}


def test_a_trial_whose_worker_died_before_its_first_heartbeat_is_found_too(
    study: Study, storage: RDBStorage
) -> None:
    trial = study.ask()
    assert reap(study, storage, GRACE_S, max_retries=1) == []
    time.sleep(1.5 * GRACE_S)
    assert reap(study, storage, GRACE_S, max_retries=1) == [_id(trial)]


def test_a_retry_of_a_retry_names_the_first_trial(study: Study, storage: RDBStorage) -> None:
    trials = [_ask(study, storage)]
    for _ in range(2):
        retry(study, storage, [_id(trials[-1])], "interrupted")
        trials.append(_ask(study, storage))
    first, second, third = trials
    assert third.user_attrs == {RETRY_OF: 0}
    assert study.trials[2].system_attrs[CHECKPOINTS] == [_id(second), _id(first)]
    assert study.trials[2].system_attrs["retry_history"] == [0, 1]


def test_a_trial_is_run_again_no_more_often_than_allowed(study: Study, storage: RDBStorage) -> None:
    for _ in range(3):
        retry(study, storage, [_id(_ask(study, storage))], "lost", max_retries=2)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 3


def test_the_late_worker_of_a_trial_is_told_that_it_was_taken(
    study: Study, storage: RDBStorage
) -> None:
    taken, own = _ask(study, storage), _ask(study, storage)
    retry(study, storage, [_id(taken)], "lost")
    assert beat(storage, [_id(taken), _id(own)]) == {_id(taken)}
    assert beat(storage, []) == set()


def test_what_has_ended_is_not_retried(study: Study, storage: RDBStorage) -> None:
    trial = _ask(study, storage)
    study.tell(trial, 0.5)
    assert retry(study, storage, [_id(trial)], "lost") == []
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def test_no_trial_is_failed_that_cannot_be_enqueued_again(
    study: Study, storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = _ask(study, storage)
    monkeypatch.setattr(liveness, "_enqueue_again", Mock(side_effect=ConnectionResetError))
    with pytest.raises(ConnectionResetError):
        retry(study, storage, [_id(trial)], "lost")
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]
    assert study.trials[0].user_attrs == {}


def test_reapers_at_the_same_time_retry_a_trial_once(
    postgres_url: str, study: Study, storage: RDBStorage
) -> None:
    trials = [_ask(study, storage) for _ in range(3)]
    time.sleep(1.5 * GRACE_S)
    start, reaped = threading.Barrier(4), []

    def work() -> None:
        own = open_storage(postgres_url)
        start.wait()
        reaped.extend(reap(load_study(own, study.study_name, CONFIG, 0), own, GRACE_S, 5))
        own.remove_session()
        own.engine.dispose()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reaped) == [_id(trial) for trial in trials]
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL] * 3 + [TrialState.WAITING] * 3


def test_running_trials_are_known_by_their_workers(study: Study, storage: RDBStorage) -> None:
    named, nameless, ended = (_ask(study, storage) for _ in range(3))
    named.set_user_attr(WORKER, "worker-1")
    study.tell(ended, 0.5)
    assert workers_of_running(storage, study._study_id) == {
        _id(named): "worker-1",
        _id(nameless): "",
    }


def test_a_client_that_is_cut_off_with_the_lock_in_its_hands_is_soon_let_go(
    postgres_url: str, study: Study, storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_write, "MAX_IDLE_S", 1.0)
    with opened_storage(postgres_url) as other:
        connection = other.engine.connect()
        lock_study(connection, study._study_id)
        started_s = time.monotonic()
        assert ask(storage, study._study_id, LIMITS)
        assert 0.5 < time.monotonic() - started_s < 10
        connection.invalidate()
        connection.close()
