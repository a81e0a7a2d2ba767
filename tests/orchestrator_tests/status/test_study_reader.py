import random
import time

import pytest
from optuna.study import Study, StudyDirection
from optuna.trial import Trial, TrialState

from orchestrator.status.study_reader import Failure, Improvement, StudyReader
from shared.config.sweep import SweepConfig
from shared.study.attributes import BY_FOLD, FAILURE, NODE, WORKER
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage
from tests.rows import rows_read


@pytest.fixture
def study(storage: StudyStorage, study_name: str) -> Study:
    return open_study(storage, study_name, SweepConfig(), "f")


@pytest.fixture
def follower(study: Study) -> StudyReader:
    return StudyReader(study._study_id, study.directions)


def _ask(study: Study, worker: str = "worker-0") -> Trial:
    trial = study.ask()
    trial.set_user_attr(WORKER, worker)
    trial.set_user_attr(NODE, "here")
    return trial


def test_trials_are_counted_once_however_often_they_are_read(
    storage: StudyStorage, study: Study, follower: StudyReader
) -> None:
    complete, pruned, failed, _running = (_ask(study) for _ in range(4))
    study.enqueue_trial({})
    study.tell(complete, 0.5)
    assert follower.read(storage).counts.total() == 5
    study.tell(pruned, state=TrialState.PRUNED)
    study.tell(failed, state=TrialState.FAIL)
    for _ in range(2):
        assert follower.read(storage).counts == dict.fromkeys(TrialState, 1)


def test_a_reading_that_failed_is_made_up_for(
    storage: StudyStorage, study: Study, follower: StudyReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.tell(_ask(study), 0.5)
    with monkeypatch.context() as broken:
        broken.setattr("orchestrator.status.study_reader.read_values", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            follower.read(storage)
    assert follower.read(storage).improvements == (Improvement(1, 0, 0.5),)


def test_the_best_value_improves_as_trials_end(
    storage: StudyStorage, study: Study, follower: StudyReader
) -> None:
    for value in (0.5, 0.7, 0.4):
        study.tell(_ask(study), value)
    first = follower.read(storage).improvements
    study.tell(_ask(study), state=TrialState.PRUNED)
    study.tell(_ask(study), 0.3)
    assert first == (Improvement(1, 0, 0.5), Improvement(3, 2, 0.4))
    assert follower.read(storage).improvements == (*first, Improvement(5, 4, 0.3))


def test_of_equal_trials_the_one_with_the_lower_number_is_the_best(
    storage: StudyStorage, study: Study, follower: StudyReader
) -> None:
    early, late = _ask(study), _ask(study)
    study.tell(late, 0.5)
    study.tell(early, 0.5)
    assert follower.read(storage).improvements[-1].trial == early.number


def test_failures_come_with_their_reasons_the_latest_first(
    storage: StudyStorage, study: Study, follower: StudyReader
) -> None:
    for reason in ("diverged: twice", ""):
        trial = _ask(study)
        if reason:
            trial.set_user_attr(FAILURE, reason)
        study.tell(trial, state=TrialState.FAIL)
    assert follower.read(storage).failures == (
        Failure(1, "no reason is recorded"),
        Failure(0, "diverged: twice"),
    )


def test_a_running_trial_shows_its_last_epoch_and_where_it_runs(
    storage: StudyStorage, study: Study, follower: StudyReader
) -> None:
    waiting, training = _ask(study), _ask(study, "worker-1")
    training.report(0.7, 0)
    training.report(0.6, 1)
    storage.record_heartbeat(training._trial_id)
    first, second = follower.read(storage).running
    assert (first.trial, first.step, first.value) == (training.number, 1, 0.6)
    assert (first.worker, first.node, first.value_age_s) == ("worker-1", "here", None)
    assert 0 <= first.silent_s < 5
    assert (second.trial, second.step, second.value) == (waiting.number, None, None)
    assert 0 <= second.running_s < 30, "by the database's clock, in any time zone"


def test_a_running_trial_shows_how_many_folds_it_is_through(
    storage: StudyStorage, study: Study, follower: StudyReader
) -> None:
    trial = _ask(study)
    trial.report(0.7, 0)
    (first,) = follower.read(storage).running
    time.sleep(0.05)
    trial.set_user_attr(BY_FOLD, {"validation_loss": [0.7, 0.6], "ap_macro": [0.5, 0.5]})
    (third,) = follower.read(storage).running
    assert (first.folds, third.folds) == (0, 2)
    assert third.value_age_s == 0, "there is something new to see"


def test_the_age_of_a_value_counts_from_when_it_was_first_seen(
    storage: StudyStorage, study: Study, follower: StudyReader
) -> None:
    trial = _ask(study)
    follower.read(storage)
    trial.report(0.7, 0)
    (new,) = follower.read(storage).running
    time.sleep(0.2)
    (same,) = follower.read(storage).running
    assert new.value_age_s == 0
    assert same.value_age_s is not None
    assert 0.2 <= same.value_age_s < 5


def test_finished_trials_are_known_by_their_times_and_training(
    storage: StudyStorage, study: Study, follower: StudyReader
) -> None:
    trial = _ask(study)
    trial.set_user_attr("seconds", 3.0)
    study.tell(trial, 0.5)
    study.tell(_ask(study), state=TrialState.FAIL)
    found = follower.read(storage)
    ((start_s, end_s),) = found.finished
    (trained,) = found.trained
    assert found.now_s - 30 < start_s <= end_s <= found.now_s
    assert (trained.worker, trained.node, trained.span) == ("worker-0", "here", (end_s - 3, end_s))


def test_the_greatest_value_is_the_best_where_it_is_maximised(
    storage: StudyStorage, study: Study
) -> None:
    for value in (0.5, 0.7, 0.6):
        study.tell(study.ask(), value)
    found = StudyReader(study._study_id, [StudyDirection.MAXIMIZE]).read(storage)
    assert [one.value for one in found.improvements] == [0.5, 0.7]


def _end(study: Study, rng: random.Random, trials: list[Trial]) -> None:
    """End some trials in another order than they began in, with values of which many are equal."""
    for trial in rng.sample(trials, len(trials)):
        state = rng.choice([TrialState.COMPLETE] * 4 + [TrialState.PRUNED, TrialState.FAIL])
        trial.set_user_attr(FAILURE, f"error: {trial.number}")
        values = [rng.randrange(8) / 8 for _ in study.directions]
        study.tell(trial, values if state is TrialState.COMPLETE else None, state=state)


@pytest.mark.parametrize("objective", [("validation_loss",), ("ap_weighted", "validation_loss")])
def test_whoever_comes_late_sees_what_was_seen_all_along(
    storage: StudyStorage, study_name: str, objective: tuple[str, ...], monkeypatch
) -> None:
    monkeypatch.setattr("orchestrator.status.study_reader.MAX_GAPS", 4)
    monkeypatch.setattr("orchestrator.status.study_reader.N_FAILURES", 3)
    config = SweepConfig.model_validate({"study": {"objective": objective}})
    study, rng = open_study(storage, study_name, config, "f"), random.Random(len(objective))
    follower = StudyReader(study._study_id, study.directions)
    for _ in range(3):
        trials = [_ask(study) for _ in range(12)]
        _end(study, rng, trials[:10])
        seen, late = (
            reader.read(storage)
            for reader in (follower, StudyReader(study._study_id, study.directions))
        )
        for name in ("counts", "improvements", "best_values", "failures", "finished", "trained"):
            assert getattr(late, name) == getattr(seen, name), name
        assert late.front == seen.front
        assert [one.trial for one in late.running] == [one.trial for one in seen.running]


def test_a_first_reading_is_bounded_however_many_trials_have_ended(
    storage: StudyStorage, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("MAX_GAPS", 4), ("N_FAILURES", 3), ("WINDOW_S", 0.0)):
        monkeypatch.setattr(f"orchestrator.status.study_reader.{name}", value)
    read = []
    for _ in range(2):
        for number in range(30):
            trial = _ask(study)
            if number % 3:
                study.tell(trial, 1 + trial.number)
            else:
                study.tell(trial, state=TrialState.FAIL)
        with rows_read(storage) as rows:
            StudyReader(study._study_id, study.directions).read(storage)
        read.append(sum(rows))
    assert read[0] == read[1]
