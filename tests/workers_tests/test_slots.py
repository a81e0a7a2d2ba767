import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState

from shared.config.sweep import with_values
from shared.study.attributes import (
    AP_MACRO,
    AP_WEIGHTED,
    EPOCHS,
    FAILURE,
    RETRY_OF,
    SECONDS,
    WORKER,
    Failure,
    FailureKind,
    Owner,
)
from shared.study.liveness import owners_of_running, retry
from shared.study.study import load_study, open_study
from shared.study.tables.study_storage import StudyStorage
from shared.training.matrix import Matrix
from shared.training.trainer import Trainer
from workers import SearchArrays, WorkerSpec
from workers.slots import open_bench, run_trials, trial_seed


def _trainer(spec: WorkerSpec, arrays: SearchArrays, n_slots: int = 1) -> Trainer:
    widths = arrays.widths_by_name(spec.config)
    matrix = Matrix(arrays.vectors, arrays.labels, widths=widths)
    return Trainer(matrix, spec.config.training, n_slots, 128, 3)


def _run(
    storage: StudyStorage,
    spec: WorkerSpec,
    arrays: SearchArrays,
    n_slots: int = 1,
    stop_after: int | None = None,
) -> list[FrozenTrial]:
    """Run trials until the budget is spent or `stop_after` looks at whether to stop."""
    study = load_study(storage, spec.study_name, spec.config)
    trainer = _trainer(spec, arrays, n_slots)
    bench = open_bench(study, storage, spec, arrays, trainer, Owner("worker-0"))
    n_looks = 0

    def should_stop() -> bool:
        nonlocal n_looks
        n_looks += 1
        return stop_after is not None and n_looks > stop_after

    run_trials(bench, should_stop)
    ours = {"asker", "reporter", "heartbeat", "reaper"}
    assert not ours & {thread.name for thread in threading.enumerate()}
    return study.trials


QUICK = {"batch_size": {"low": 8, "high": 8}, "learning_rate": {"low": 1e-2, "high": 1e-2}}
ALONE = {"n_trials": 2, "sampler": {"n_startup_trials": 100}}
RESTLESS = {"heartbeat_interval_s": 0.05}
ONE_TRIAL = {"n_trials": 1, "pruner": {"n_startup_trials": 2}}


def test_a_trial_completes_with_its_best_validation_loss(storage, make_spec, arrays) -> None:
    (trial,) = _run(storage, make_spec(study=ONE_TRIAL), arrays)
    assert trial.state == TrialState.COMPLETE
    assert trial.value == pytest.approx(min(trial.intermediate_values.values()))
    assert list(trial.intermediate_values) == list(range(trial.user_attrs[EPOCHS]))
    assert trial.user_attrs[WORKER] == "worker-0"


def test_a_complete_trial_says_its_average_precision(storage, make_spec, arrays) -> None:
    (trial,) = _run(storage, make_spec(study=ONE_TRIAL, space=QUICK), arrays)
    assert 0.5 < trial.user_attrs[AP_MACRO] <= 1
    assert 0.5 < trial.user_attrs[AP_WEIGHTED] <= 1
    assert trial.user_attrs[SECONDS] > 0


def test_trials_are_compared_by_average_precision_and_pruned_by_their_loss(
    storage, make_spec, arrays
) -> None:
    study = {"n_trials": 8, "objective": "ap_macro", "pruner": {"n_startup_trials": 2}}
    spec = make_spec(study=study, space=QUICK)
    trials = _run(storage, spec, arrays)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert complete
    assert pruned
    assert all(t.value == pytest.approx(t.user_attrs[AP_MACRO], abs=1e-6) for t in complete)
    assert all(trial.value is None for trial in pruned)
    best = load_study(storage, spec.study_name, spec.config).best_value
    assert best == max(trial.value for trial in complete)


def test_many_trials_at_a_time_are_the_same_as_one_after_another(
    storage, make_spec, arrays
) -> None:
    spec = make_spec(study={"n_trials": 12, "sampler": {"n_startup_trials": 100}})
    trials = _run(storage, spec, arrays, n_slots=5)
    assert len(trials) == 12
    assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in trials)
    for trial in trials:
        reported = sorted(trial.intermediate_values)
        assert reported == list(range(trial.user_attrs[EPOCHS]))


def test_a_trial_worse_than_the_median_is_pruned(storage, make_spec, arrays) -> None:
    spec = make_spec(study={"n_trials": 3, "pruner": {"n_startup_trials": 2}})
    study = load_study(storage, spec.study_name, spec.config)
    for _ in range(2):
        good = study.ask()
        good.report(0.0, 0)
        study.tell(good, 0.0)
    trial = _run(storage, spec, arrays)[-1]
    assert trial.state == TrialState.PRUNED
    assert len(trial.intermediate_values) == 1


def test_a_diverged_trial_fails_with_its_reason(storage, make_spec, arrays) -> None:
    rate = {"low": 1e30, "high": 1e30}
    spec = make_spec(
        space={"learning_rate": rate, "optimizer": ("sgd",), "activation": ("linear",)}
    )
    trial = _run(storage, spec, arrays, stop_after=4)[0]
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[FAILURE].startswith("diverged: the loss was not finite")


def test_trials_under_way_are_handed_back_when_the_worker_is_to_stop(
    storage, make_spec, arrays
) -> None:
    trials = _run(storage, make_spec(), arrays, n_slots=2, stop_after=4)
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
    assert not any(trial.state == TrialState.RUNNING for trial in trials)
    assert failed
    assert all(trial.user_attrs[FAILURE].startswith("interrupted") for trial in failed)
    assert [t.params for t in waiting] == [t.params for t in failed]


def _curves(trials: list[FrozenTrial]) -> list[list[float]]:
    """Return the finished trials' validation losses, in the order of the trials they repeat."""
    finished = [t for t in trials if t.state != TrialState.FAIL]
    finished.sort(key=lambda trial: trial.user_attrs.get(RETRY_OF, trial.number))
    return [[t.intermediate_values[s] for s in sorted(t.intermediate_values)] for t in finished]


@pytest.mark.parametrize("interval_s", [0, 1000])
def test_an_interrupted_trial_goes_on_to_the_curve_that_it_would_have_had(
    storage, make_spec, arrays, tmp_path, interval_s: int, study_name: str
) -> None:
    whole = make_spec(study=ALONE)
    expected = _curves(_run(storage, whole, arrays))
    workers = {"checkpoint_interval_s": interval_s}
    open_study(storage, f"{study_name}-cut", whole.config, "fingerprint")
    cut = replace(whole, study_name=f"{study_name}-cut", study_uuid="cut")
    cut = replace(cut, config=with_values(whole.config, {"workers": workers}))
    for stop_after in (3, 4, None):
        trials = _run(storage, cut, arrays, stop_after=stop_after)
    assert sum(trial.state == TrialState.FAIL for trial in trials) >= 2
    assert len(expected) == 2
    for ours, theirs in zip(_curves(trials), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert all(trial.user_attrs[EPOCHS] == len(trial.intermediate_values) for trial in finished)
    assert not list(tmp_path.glob("checkpoints/*/*")), "what is kept of a trial goes with it"


def test_a_trial_that_was_taken_is_let_go_and_its_late_end_does_not_count(
    storage, make_spec, arrays
) -> None:
    spec = make_spec(study={"n_trials": 1}, workers={"heartbeat_interval_s": 0.05})
    study = load_study(storage, spec.study_name, spec.config)
    n_looks = 0

    def take_the_first() -> bool:
        nonlocal n_looks
        n_looks += 1
        if n_looks == 4:
            running = owners_of_running(storage, study._study_id)
            failure = Failure(FailureKind.LOST, "lost: a false alarm")
            retry(storage, study._study_id, running, failure)
            time.sleep(0.3)
        return False

    trainer = _trainer(spec, arrays)
    bench = open_bench(study, storage, spec, arrays, trainer, Owner("worker-0"))
    run_trials(bench, take_the_first)
    first, second = study.trials
    assert first.state == TrialState.FAIL
    assert second.state == TrialState.COMPLETE
    assert second.user_attrs[RETRY_OF] == first.number


def test_an_error_that_meets_every_trial_is_raised_at_the_third(
    storage, make_spec, arrays: SearchArrays
) -> None:
    broken = replace(arrays, folds=((arrays.folds[0][0], np.array([999])),))
    spec = make_spec()
    with pytest.raises(Exception, match="999"):
        _run(storage, spec, broken)
    study = load_study(storage, spec.study_name, spec.config)
    reasons = [str(t.user_attrs[FAILURE]) for t in study.get_trials(states=(TrialState.FAIL,))]
    assert sum(reason.startswith("error: InvalidArgumentError") for reason in reasons) == 3
    assert not study.get_trials(states=(TrialState.RUNNING,))


def test_trials_that_meet_an_error_fail_and_the_others_go_on(
    storage, make_spec, arrays, monkeypatch
) -> None:
    add, spec = Trainer.add, make_spec()

    def add_badly(trainer: Trainer, key: int, params: object, seed: int, *rest: object) -> None:
        if trial_seed(42, 1) == seed:
            raise MemoryError("one head alone does not fit")
        if trial_seed(42, 2) == seed:
            raise KeyError("n_units_l9")
        add(trainer, key, params, seed, *rest)

    monkeypatch.setattr(Trainer, "add", add_badly)
    _, second, third, *others = _run(storage, spec, arrays)
    assert second.state == third.state == TrialState.FAIL
    assert second.user_attrs[FAILURE] == "out of memory: one head alone does not fit"
    assert third.user_attrs[FAILURE].startswith("error: KeyError in add_badly, line ")
    assert len(others) == 5
    assert all(trial.state != TrialState.FAIL for trial in others)


def test_a_checkpoint_that_cannot_be_written_costs_no_trial(
    storage, make_spec, arrays, tmp_path, caplog
) -> None:
    (tmp_path / "checkpoints").write_text("a file is in the way")
    spec = make_spec(study=ONE_TRIAL, workers={"checkpoint_interval_s": 0})
    (trial,) = _run(storage, spec, arrays)
    assert trial.state == TrialState.COMPLETE
    assert f"The store {tmp_path} cannot be used" in caplog.text


def test_an_error_of_the_asking_is_raised(storage, make_spec, arrays, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("no database")

    monkeypatch.setattr("workers.asking.ask", fail)
    with pytest.raises(ConnectionError, match="no database"):
        _run(storage, make_spec(), arrays)


def test_an_error_of_the_heartbeat_is_raised(storage, make_spec, arrays, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("no database")

    monkeypatch.setattr("workers.heartbeat.beat", fail)
    with pytest.raises(ConnectionError, match="no database"):
        _run(storage, make_spec(study={"n_trials": 1000}, workers=RESTLESS), arrays)


def test_trials_have_seeds_of_their_own() -> None:
    assert len({trial_seed(42, number) for number in range(1000)}) == 1000
    assert trial_seed(42, 7) == trial_seed(42, 7) != trial_seed(43, 7)
