import threading
from functools import partial

import pytest
from optuna.study import Study
from optuna.trial import TrialState

from shared.config.sections import PrunerConfig
from shared.study.attributes import Failure, FailureKind
from shared.study.pruning import Medians
from shared.study.study import load_study
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.write import Ended
from tests.rows import rows_read
from workers import reporting
from workers.heartbeat import Heartbeat
from workers.reporting import Reporter

PATIENCE_S = 30.0


@pytest.fixture
def study(storage: StudyStorage, make_spec) -> Study:
    spec = make_spec()
    return load_study(storage, spec.study_name, spec.config)


@pytest.fixture
def medians() -> Medians:
    return Medians(PrunerConfig(n_startup_trials=1))


def test_all_that_was_sent_is_written_when_it_is_closed(
    storage: StudyStorage, study: Study, medians: Medians, heartbeat: Heartbeat
) -> None:
    reporter = Reporter(study, storage, medians, heartbeat)
    complete, pruned, running = (study.ask() for _ in range(3))
    for step in range(30):
        for trial in (complete, pruned, running):
            reporter.send(trial._trial_id, {step: trial.number + step / 100})
    reporter.send(complete._trial_id, {30: 0.5}, {"epochs": 31}, Ended(TrialState.COMPLETE, (0.0,)))
    reporter.send(pruned._trial_id, end=Ended(TrialState.PRUNED, (1.29,)))
    reporter.close()
    first, second, third = study.trials
    assert [t.state for t in study.trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.RUNNING,
    ]
    assert first.intermediate_values == {step: step / 100 for step in range(30)} | {30: 0.5}
    assert first.user_attrs == {"epochs": 31}
    assert (first.value, second.value) == (0.0, 1.29)
    assert len(third.intermediate_values) == 30


def test_medians_follow_what_this_and_other_workers_complete(
    storage: StudyStorage,
    study: Study,
    medians: Medians,
    heartbeat: Heartbeat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.reporting.FOLLOW_EVERY_S", 0)
    before, other, own = (study.ask() for _ in range(3))
    before.report(0.2, 0)
    study.tell(before, 0.2)
    reporter = Reporter(study, storage, medians, heartbeat)
    reporter.send(own._trial_id, {0: 0.6})
    assert reporter.medians.should_prune({0: 0.3})
    other.report(0.5, 0)
    study.tell(other, 0.5)
    reporter.send(own._trial_id, end=Ended(TrialState.COMPLETE, (0.6,)))
    reporter.close()
    assert medians.n_complete == 3
    assert not medians.should_prune({0: 0.3})
    assert medians.should_prune({0: 0.55})


def test_what_went_wrong_is_raised(
    storage: StudyStorage,
    study: Study,
    medians: Medians,
    heartbeat: Heartbeat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("no database")

    reporter = Reporter(study, storage, medians, heartbeat)
    monkeypatch.setattr("workers.reporting.write_reports", fail)
    trial = study.ask()
    reporter.send(trial._trial_id, {0: 0.5})
    with pytest.raises(ConnectionError, match="no database"):
        reporter.close()
    with pytest.raises(ConnectionError, match="no database"):
        reporter.send(trial._trial_id, {1: 0.5})


def test_a_trial_that_is_handed_back_waits_to_run_again(
    storage: StudyStorage, study: Study, medians: Medians, heartbeat: Heartbeat
) -> None:
    reporter = Reporter(study, storage, medians, heartbeat)
    reporter.send(
        study.ask()._trial_id, {0: 0.5}, end=Failure(FailureKind.HANDED_BACK, "interrupted")
    )
    reporter.close()
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_what_is_sent_about_a_trial_that_has_ended_is_dropped(
    storage: StudyStorage, study: Study, medians: Medians, heartbeat: Heartbeat
) -> None:
    reporter, accepted = Reporter(study, storage, medians, heartbeat), []
    taken, own = study.ask(), study.ask()
    study.tell(taken, state=TrialState.FAIL)
    for trial in (taken, own):
        end, note = Ended(TrialState.COMPLETE, (0.5,)), partial(accepted.append, trial.number)
        reporter.send(trial._trial_id, {0: 0.5}, {"a": 1}, end, note)
    reporter.close()
    assert accepted == [own.number]
    found, _ = study.trials
    assert (found.state, found.intermediate_values, found.user_attrs) == (TrialState.FAIL, {}, {})


def test_medians_begin_with_the_latest_complete_trials_however_many_there_are(
    storage: StudyStorage, study: Study, medians: Medians, heartbeat: Heartbeat
) -> None:
    medians.n_latest = 3
    read = []
    for _ in range(2):
        for number in range(8):
            trial = study.ask()
            trial.report(number / 8, 0)
            trial.report(number / 8, 1)
            if number % 2:
                study.tell(trial, 0.5)
            else:
                study.tell(trial, state=TrialState.PRUNED)
        running = study.ask()
        with rows_read(storage) as rows:
            reporter = Reporter(study, storage, medians, heartbeat)
            _ = reporter.medians
            reporter.send(running._trial_id, end=Ended(TrialState.FAIL))
            reporter.close()
        read.append(sum(rows))
        assert medians.n_complete == 3
        assert not medians.should_prune({0: 0.625}), "the median of 3/8, 5/8 and 7/8"
        assert medians.should_prune({0: 0.626})
    assert read[0] == read[1]


def test_what_was_completed_before_is_waited_for_by_who_asks_for_the_medians_alone(
    storage: StudyStorage,
    study: Study,
    medians: Medians,
    heartbeat: Heartbeat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study.tell(study.ask(), 0.2)
    may_read, read = threading.Event(), reporting.read_latest
    monkeypatch.setattr(reporting, "read_latest", lambda *args: may_read.wait() and read(*args))
    reporter = Reporter(study, storage, medians, heartbeat)
    assert medians.n_complete == 0
    threading.Timer(0.2, may_read.set).start()
    assert reporter.medians.n_complete == 1
    reporter.close()


def test_who_asks_for_the_medians_of_a_reporter_that_failed_does_not_wait(
    storage: StudyStorage,
    study: Study,
    medians: Medians,
    heartbeat: Heartbeat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporting, "read_latest", lambda *_: 1 / 0)
    reporter = Reporter(study, storage, medians, heartbeat)
    assert reporter.medians.n_complete == 0
    with pytest.raises(ZeroDivisionError):
        reporter.close()
