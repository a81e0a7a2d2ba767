import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import Trial, TrialState

from shared.config.sweep import SweepConfig
from shared.study.attributes import WORKER
from shared.study.study import open_study
from shared.study.tables.count import TrialTally
from shared.study.tables.read import Params
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.trials import begin_trials
from shared.study.tables.write import Ended, Report, beat, write_params, write_reports


@pytest.fixture
def study(storage: StudyStorage, study_name: str) -> Study:
    return open_study(storage, study_name, SweepConfig(), "f")


def _id(trial: Trial) -> int:
    return trial._trial_id


def _write(storage: StudyStorage, reports: Sequence[Report]) -> set[int]:
    return storage.transact(lambda connection: write_reports(connection, reports))


def _write_params(storage: StudyStorage, params: dict[int, Params]) -> None:
    storage.transact(lambda connection: write_params(connection, params))


def test_what_is_written_in_bulk_reads_as_if_optuna_had_written_it(
    storage: StudyStorage, study: Study
) -> None:
    ours, optunas = study.ask(), study.ask()
    values = {0: 0.5, 1: math.inf, 2: -math.inf, 7: 0.25}
    attrs = {"epochs": 3, "failure": 'said "no": ü', "seconds": 1.5}
    _write(storage, [Report(_id(ours), values, attrs)])
    for step, value in values.items():
        optunas.report(value, step)
    for key, attr in attrs.items():
        optunas.set_user_attr(key, attr)
    written, expected = study.trials
    assert written.intermediate_values == expected.intermediate_values == values
    assert written.user_attrs == expected.user_attrs == attrs


def test_a_value_that_is_no_number_stays_none(storage: StudyStorage, study: Study) -> None:
    trial = study.ask()
    _write(storage, [Report(_id(trial), {0: math.nan}, {})])
    assert math.isnan(study.trials[0].intermediate_values[0])


def test_a_step_keeps_its_first_value_and_an_attribute_its_last(
    storage: StudyStorage, study: Study
) -> None:
    trial = study.ask()
    _write(storage, [Report(_id(trial), {0: 0.5}, {"a": 1})])
    _write(storage, [Report(_id(trial), {0: 0.7, 1: 0.4}, {"a": 2})])
    (found,) = study.trials
    assert found.intermediate_values == {0: 0.5, 1: 0.4}
    assert found.user_attrs == {"a": 2}


def test_reports_of_many_trials_are_written_at_once(storage: StudyStorage, study: Study) -> None:
    trials = [study.ask() for _ in range(5)]
    _write(storage, [Report(_id(t), {s: t.number + s / 10 for s in range(3)}, {}) for t in trials])
    for trial in study.trials:
        assert trial.intermediate_values == {s: trial.number + s / 10 for s in range(3)}


def test_a_trial_that_has_ended_is_left_as_it_is(storage: StudyStorage, study: Study) -> None:
    ended, running = study.ask(), study.ask()
    study.tell(ended, 1.0)
    reports = [Report(_id(trial), {0: 0.5}, {"a": 1}) for trial in (ended, running)]
    assert _write(storage, reports) == {_id(running)}
    first, second = study.trials
    assert first.intermediate_values == first.user_attrs == {}
    assert second.intermediate_values == {0: 0.5}


def test_ends_read_as_if_optuna_had_told_them(storage: StudyStorage, study: Study) -> None:
    ends = [
        Ended(TrialState.COMPLETE, (0.25,)),
        Ended(TrialState.PRUNED, (0.5,)),
        Ended(TrialState.PRUNED, (math.nan,)),
        Ended(TrialState.FAIL),
    ]
    ours, optunas = ([study.ask() for _ in ends] for _ in range(2))
    reports = [
        Report(_id(trial), {0: (*end.values, math.nan)[0]}, end=end)
        for trial, end in zip(ours, ends, strict=True)
    ]
    _write(storage, reports)
    for trial, end in zip(optunas, ends, strict=True):
        trial.report((*end.values, math.nan)[0], 0)
        study.tell(trial, end.values if end.state == TrialState.COMPLETE else None, end.state)
    written, expected = study.trials[: len(ends)], study.trials[len(ends) :]
    assert [(t.state, t.values) for t in written] == [(t.state, t.values) for t in expected]
    assert all(t.datetime_complete is not None and t.duration is not None for t in written)


def test_several_values_read_as_if_optuna_had_told_them(
    storage: StudyStorage, study_name: str
) -> None:
    study = optuna.create_study(
        storage=storage, study_name=study_name, directions=["maximize", "minimize"]
    )
    ours, optunas = study.ask(), study.ask()
    end = Ended(TrialState.COMPLETE, (0.5, math.inf))
    _write(storage, [Report(_id(ours), end=end)])
    study.tell(optunas, [0.5, math.inf])
    assert [trial.values for trial in study.trials] == [[0.5, math.inf]] * 2


def test_a_trial_is_ended_once(storage: StudyStorage, study: Study) -> None:
    trial = study.ask()
    for value in (0.5, 0.25):
        end = Ended(TrialState.COMPLETE, (value,))
        _write(storage, [Report(_id(trial), {0: value}, {"a": value}, end)])
    assert study.trials[0].value == 0.5
    assert study.trials[0].user_attrs == {"a": 0.5}


def test_trials_begin_as_if_optuna_had_been_asked(storage: StudyStorage, study: Study) -> None:
    study.ask()
    study.enqueue_trial({"x": 0.5}, user_attrs={"first": True})
    with storage.transaction() as connection:
        counts = TrialTally(study._study_id).count(connection)
        begun = begin_trials(connection, study._study_id, 3, counts, {WORKER: "worker-0"}, "r")
    assert [one.number for one in begun] == [1, 2, 3]
    assert begun[0].user_attrs == {"first": True}
    assert begun[0].system_attrs == {"fixed_params": {"x": 0.5}}
    assert [t.number for t in study.trials] == [0, 1, 2, 3]
    assert all(t.state == TrialState.RUNNING and t.datetime_start for t in study.trials)
    assert all(t.user_attrs[WORKER] == "worker-0" for t in study.trials[1:])
    assert study.ask().number == 4
    ids = [one.trial_id for one in begun]
    assert storage.transact(lambda connection: beat(connection, ids)) == set()


def test_params_read_as_if_optuna_had_suggested_them(storage: StudyStorage, study: Study) -> None:
    ours, optunas = study.ask(), study.ask()
    params = {
        "units": (128.0, IntDistribution(48, 384, log=True)),
        "dropout": (0.25, FloatDistribution(0.0, 0.6)),
        "activation": (1.0, CategoricalDistribution(("relu", "linear"))),
    }
    for _ in range(2):
        _write_params(storage, {_id(ours): params})
    for name, (value, distribution) in params.items():
        storage.set_trial_param(_id(optunas), name, value, distribution)
    written, expected = study.trials
    assert (
        written.params
        == expected.params
        == {
            "units": 128,
            "dropout": 0.25,
            "activation": "linear",
        }
    )
    assert written.distributions == expected.distributions


def test_every_tool_of_optuna_reads_what_was_written(
    storage: StudyStorage, study: Study, postgres_url: str
) -> None:
    with storage.transaction() as connection:
        (begun,) = begin_trials(connection, study._study_id, 1, Counter(), {}, "r")
    _write_params(storage, {begun.trial_id: {"x": (0.5, FloatDistribution(0, 1))}})
    _write(storage, [Report(begun.trial_id, {0: 0.3}, {}, Ended(TrialState.COMPLETE, (0.3,)))])
    other = optuna.load_study(study_name=study.study_name, storage=postgres_url)
    assert other.best_params == {"x": 0.5}
    (row,) = other.trials_dataframe().to_dict("records")
    assert (row["number"], row["value_validation_loss"], row["params_x"]) == (0, 0.3, 0.5)
    command = [Path(sys.executable).with_name("optuna"), "trials", "--storage", postgres_url]
    printed = subprocess.run(
        [*command, "--study-name", study.study_name, "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [trial["params"] for trial in json.loads(printed.stdout)] == [{"x": 0.5}]
    other._storage.remove_session()
    other._storage._backend.engine.dispose()


@pytest.fixture
def _far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as environment:
        environment.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_far_east")
def test_times_are_those_that_optuna_writes_in_any_time_zone(
    storage: StudyStorage, study: Study
) -> None:
    optunas = study.ask()
    with storage.transaction() as connection:
        (ours,) = begin_trials(connection, study._study_id, 1, Counter(RUNNING=1), {}, "r")
    _write(storage, [Report(ours.trial_id, end=Ended(TrialState.PRUNED))])
    study.tell(optunas, state=TrialState.PRUNED)
    expected, written = study.trials
    for trial in (expected, written):
        for moment in (trial.datetime_start, trial.datetime_complete):
            assert moment
            assert moment.timestamp() == pytest.approx(time.time(), abs=60)
