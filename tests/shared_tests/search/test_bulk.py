import math

import pytest
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import Trial, TrialState

from shared.config import SweepConfig
from shared.search.bulk import CompleteTrials, Report, write_reports
from shared.search.study import open_study


@pytest.fixture
def study(storage: RDBStorage, study_name: str) -> Study:
    return open_study(storage, study_name, SweepConfig(), "f")


def _id(trial: Trial) -> int:
    return trial._trial_id


def test_what_is_written_in_bulk_reads_as_if_optuna_had_written_it(
    storage: RDBStorage, study: Study
) -> None:
    ours, optunas = study.ask(), study.ask()
    values = {0: 0.5, 1: math.inf, 2: -math.inf, 7: 0.25}
    attrs = {"epochs": 3, "failure": 'said "no": ü', "seconds": 1.5}
    write_reports(storage, [Report(_id(ours), values, attrs)])
    for step, value in values.items():
        optunas.report(value, step)
    for key, attr in attrs.items():
        optunas.set_user_attr(key, attr)
    written, expected = study.trials
    assert written.intermediate_values == expected.intermediate_values == values
    assert written.user_attrs == expected.user_attrs == attrs


def test_a_value_that_is_no_number_stays_none(storage: RDBStorage, study: Study) -> None:
    trial = study.ask()
    write_reports(storage, [Report(_id(trial), {0: math.nan}, {})])
    assert math.isnan(study.trials[0].intermediate_values[0])


def test_a_step_keeps_its_first_value_and_an_attribute_its_last(
    storage: RDBStorage, study: Study
) -> None:
    trial = study.ask()
    write_reports(storage, [Report(_id(trial), {0: 0.5}, {"a": 1})])
    write_reports(storage, [Report(_id(trial), {0: 0.7, 1: 0.4}, {"a": 2})])
    (found,) = study.trials
    assert found.intermediate_values == {0: 0.5, 1: 0.4}
    assert found.user_attrs == {"a": 2}


def test_reports_of_many_trials_are_written_at_once(storage: RDBStorage, study: Study) -> None:
    trials = [study.ask() for _ in range(5)]
    write_reports(
        storage, [Report(_id(t), {s: t.number + s / 10 for s in range(3)}, {}) for t in trials]
    )
    for trial in study.trials:
        assert trial.intermediate_values == {s: trial.number + s / 10 for s in range(3)}


def test_a_trial_that_has_ended_is_left_as_it_is(storage: RDBStorage, study: Study) -> None:
    ended, running = study.ask(), study.ask()
    study.tell(ended, 1.0)
    reports = [Report(_id(trial), {0: 0.5}, {"a": 1}) for trial in (ended, running)]
    write_reports(storage, reports)
    first, second = study.trials
    assert first.intermediate_values == first.user_attrs == {}
    assert second.intermediate_values == {0: 0.5}


def test_complete_trials_are_read_once(storage: RDBStorage, study: Study) -> None:
    complete, pruned, silent, later = (study.ask() for _ in range(4))
    for trial in (complete, pruned, later):
        trial.report(0.5, 0)
        trial.report(math.inf, 2)
    study.tell(complete, 0.5)
    study.tell(pruned, state=TrialState.PRUNED)
    study.tell(silent, 0.7)
    reader = CompleteTrials(storage, study.study_name)
    assert reader.read_new() == {_id(complete): {0: 0.5, 2: math.inf}, _id(silent): {}}
    assert reader.read_new() == {}
    newest = study.ask()
    for trial in (newest, later):
        study.tell(trial, 0.9)
    assert reader.read_new() == {_id(newest): {}, _id(later): {0: 0.5, 2: math.inf}}
