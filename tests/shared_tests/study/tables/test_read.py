import math
import time

import pytest
from optuna.study import Study
from optuna.trial import Trial, TrialState

from shared.config.sweep import SweepConfig
from shared.study.attributes import FAILURE, WORKER
from shared.study.study import open_study
from shared.study.tables.read import (
    Changes,
    read_clock,
    read_heartbeats,
    read_intermediate_values,
    read_params,
    read_running,
    read_silences,
    read_times,
    read_trial_attrs,
    read_values,
)
from shared.study.tables.study_storage import StudyStorage


@pytest.fixture
def study(storage: StudyStorage, study_name: str) -> Study:
    return open_study(storage, study_name, SweepConfig(), "f")


def _id(trial: Trial) -> int:
    return trial._trial_id


def test_a_change_of_state_is_read_once(storage: StudyStorage, study: Study) -> None:
    complete, running, later = (study.ask() for _ in range(3))
    study.tell(complete, 0.5)
    changes = Changes(study._study_id)

    def read(*, accept: bool = True) -> dict[int, TrialState]:
        with storage.engine.begin() as connection:
            rows = changes.read(connection)
        if accept:
            changes.accept(rows)
        return {row.number: row.state for row in rows}

    assert read(accept=False) == read(accept=False)
    assert read() == {0: TrialState.COMPLETE, 1: TrialState.RUNNING, 2: TrialState.RUNNING}
    study.tell(later, state=TrialState.PRUNED)
    study.ask()
    assert read() == {1: TrialState.RUNNING, 2: TrialState.PRUNED, 3: TrialState.RUNNING}
    study.tell(running, state=TrialState.FAIL)
    assert read() == {1: TrialState.FAIL, 3: TrialState.RUNNING}
    assert read() == {3: TrialState.RUNNING}


def test_values_are_those_that_optuna_reads(storage: StudyStorage, study: Study) -> None:
    first, second, silent = (study.ask() for _ in range(3))
    for trial in (first, second):
        x = trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("kind", ("a", "b"))
        trial.report(x, 0)
        trial.report(math.inf, 4)
    study.tell(first, 0.5)
    study.tell(second, state=TrialState.PRUNED)
    ids = [_id(trial) for trial in (first, second, silent)]
    with storage.engine.begin() as connection:
        found = read_intermediate_values(connection, ids)
        last = read_intermediate_values(connection, ids, last_only=True)
        params, values = read_params(connection, ids), read_values(connection, ids)
    expected = {_id(trial): study.trials[trial.number] for trial in (first, second, silent)}
    assert found == {i: trial.intermediate_values for i, trial in expected.items()}
    assert last == {ids[0]: {4: math.inf}, ids[1]: {4: math.inf}, ids[2]: {}}
    assert values == {ids[0]: [0.5], ids[1]: [math.inf]}
    for i, described in params.items():
        external = {name: d.to_external_repr(value) for name, (value, d) in described.items()}
        assert external == expected[i].params
    assert ids[2] not in params


def test_running_trials_are_found(storage: StudyStorage, study: Study) -> None:
    ended, running = study.ask(), study.ask()
    study.tell(ended, 0.5)
    storage.record_heartbeat(_id(running))
    silent = study.ask()
    with storage.transaction() as connection:
        assert read_running(connection, study._study_id) == [_id(running), _id(silent)]
        heartbeats = read_heartbeats(connection, study._study_id)
    assert heartbeats.keys() == {_id(running), _id(silent)}
    assert heartbeats[_id(running)] is not None
    assert heartbeats[_id(silent)] is None


def test_nothing_is_found_where_nothing_is_asked_for(storage: StudyStorage) -> None:
    with storage.engine.begin() as connection:
        assert read_intermediate_values(connection, []) == {}
        assert read_params(connection, []) == read_values(connection, []) == {}


def test_times_are_those_of_trials_and_of_the_database(storage: StudyStorage, study: Study) -> None:
    ended, running = study.ask(), study.ask()
    study.tell(ended, 0.5)
    with storage.engine.begin() as connection:
        times, now_s = read_times(connection, [_id(ended), _id(running)]), read_clock(connection)
        assert read_times(connection, []) == {}
    expected = study.trials[0]
    assert expected.datetime_start
    assert expected.datetime_complete
    assert times[_id(ended)] == (
        pytest.approx(expected.datetime_start.timestamp(), abs=0.001),
        pytest.approx(expected.datetime_complete.timestamp(), abs=0.001),
    )
    assert times[_id(running)][1] is None
    assert now_s == pytest.approx(time.time(), abs=5)


def test_silence_counts_from_the_last_heartbeat(storage: StudyStorage, study: Study) -> None:
    alive, new = study.ask(), study.ask()
    storage.record_heartbeat(_id(alive))
    with storage.engine.begin() as connection:
        found = read_silences(connection, [_id(alive), _id(new)])
        assert read_silences(connection, []) == {}
    assert found == {_id(alive): pytest.approx(0, abs=5)}


def test_only_the_named_attributes_are_read(storage: StudyStorage, study: Study) -> None:
    first, second = study.ask(), study.ask()
    first.set_user_attr(WORKER, "worker-0")
    first.set_user_attr("other", 1)
    with storage.engine.begin() as connection:
        found = read_trial_attrs(connection, [_id(first), _id(second)], [WORKER, FAILURE])
        assert read_trial_attrs(connection, [], [WORKER]) == {}
    assert found == {_id(first): {WORKER: "worker-0"}, _id(second): {}}


def test_what_has_ended_is_told_once_though_an_older_trial_goes_on(
    storage: StudyStorage, study: Study
) -> None:
    study.ask()
    study.tell(study.ask(), 0.5)
    changes = Changes(study._study_id)
    told = []
    for _ in range(4):
        with storage.engine.begin() as connection:
            rows = changes.read(connection)
        changes.accept(rows)
        told += [row.number for row in rows if row.state.is_finished()]
    assert told == [1]
