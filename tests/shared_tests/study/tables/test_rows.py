"""Nothing that is written again and again draws from the counters that number Optuna's rows."""

import pytest
from optuna.distributions import FloatDistribution
from optuna.study import Study
from optuna.trial import TrialState
from sqlalchemy import text

from shared.config.sections import WorkersConfig
from shared.config.sweep import SweepConfig
from shared.study.budget import ask
from shared.study.liveness import Reaper
from shared.study.study import open_study
from shared.study.tables.read import read_sequences
from shared.study.tables.storage import warn_of_spent_sequences
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.write import Ended, Report, beat, write_params, write_reports

LAST = text("SELECT pg_sequence_last_value(CAST(:name AS regclass))")
SET = text("SELECT setval(:name, :value)")
HEARTBEATS = "trial_heartbeats_trial_heartbeat_id_seq"


@pytest.fixture
def study(storage: StudyStorage, study_name: str) -> Study:
    return open_study(storage, study_name, SweepConfig(), "f")


def _drawn(storage: StudyStorage) -> dict[str, float]:
    return {one.name: one.share for one in storage.transact(read_sequences)}


def test_what_is_written_again_takes_no_number_of_a_new_row(
    storage: StudyStorage, study: Study
) -> None:
    ids = [one.trial_id for one in ask(storage, study._study_id, n=4)]
    reaper = Reaper(storage, study._study_id, "w", WorkersConfig())

    def write() -> None:
        reports = [Report(i, {0: 0.5, 1: 0.4}, {"a": 1, "b": [2]}) for i in ids]
        params = {i: {"x": (0.5, FloatDistribution(0, 1))} for i in ids}
        storage.transact(lambda connection: write_reports(connection, reports))
        storage.transact(lambda connection: write_params(connection, params))
        storage.transact(lambda connection: beat(connection, ids))
        reaper.look()

    write()
    before = _drawn(storage)
    for _ in range(3):
        write()
    assert len(before) == 11
    assert _drawn(storage) == before
    assert study.trials[0].user_attrs == {"a": 1, "b": [2]}


def test_an_attribute_that_is_there_gets_its_new_value(storage: StudyStorage, study: Study) -> None:
    (begun,) = ask(storage, study._study_id)
    for attrs in ({"a": 1}, {"a": 2, "b": 3}, {"b": 4, "c": "5"}):
        report = Report(begun.trial_id, attrs=attrs)
        storage.transact(lambda connection, report=report: write_reports(connection, [report]))
    assert study.trials[0].user_attrs == {"a": 2, "b": 4, "c": "5"}


def test_trials_run_on_though_the_heartbeats_have_no_number_left(
    storage: StudyStorage, study: Study
) -> None:
    (begun,) = ask(storage, study._study_id)
    with storage.engine.begin() as connection:
        last = connection.scalar(LAST, {"name": HEARTBEATS})
        connection.execute(SET, {"name": HEARTBEATS, "value": 2**31 - 1})
    try:
        assert storage.transact(lambda connection: beat(connection, [begun.trial_id])) == set()
        end = Ended(TrialState.COMPLETE, (0.5,))
        report = Report(begun.trial_id, end=end)
        storage.transact(lambda connection: write_reports(connection, [report]))
    finally:
        with storage.engine.begin() as connection:
            connection.execute(SET, {"name": HEARTBEATS, "value": last})
    assert study.best_value == 0.5


def test_a_counter_that_is_half_used_up_is_told(
    storage: StudyStorage, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_spent_sequences(storage)
    assert not caplog.records
    name = "studies_study_id_seq"
    with storage.engine.begin() as connection:
        last = connection.scalar(LAST, {"name": name})
        connection.execute(SET, {"name": name, "value": 2**30 + 2**28})
    try:
        warn_of_spent_sequences(storage)
    finally:
        with storage.engine.begin() as connection:
            connection.execute(SET, {"name": name, "value": last})
    assert "63 % of the numbers that studies_study_id_seq can give are used up" in caplog.text
    assert "ALTER TABLE studies ALTER COLUMN study_id TYPE bigint" in caplog.text
