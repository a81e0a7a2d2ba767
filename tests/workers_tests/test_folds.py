from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState

from shared.study.attributes import (
    AP_MACRO,
    BY_FOLD,
    EPOCHS,
    FAILURE,
    RESUMED_AT,
    RETRY_OF,
    Failure,
    FailureKind,
    Owner,
)
from shared.study.liveness import owners_of_running, retry
from shared.study.study import load_study, open_study
from shared.study.tables.study_storage import StudyStorage
from shared.training.matrix import Matrix
from shared.training.trainer import Epoch, Trainer
from workers import SearchArrays, WorkerSpec
from workers.slots import open_bench, run_trials, trial_seed

N_EPOCHS = 4
QUICK = {
    "training": {"max_epochs": N_EPOCHS, "early_stopping_patience": N_EPOCHS},
    "space": {"batch_size": {"low": 16, "high": 16}},
    "workers": {"checkpoint_interval_s": 0},
}
ONE_TRIAL = {"n_trials": 1, "n_folds": 3}


class CountingTrainer(Trainer):
    """Be a trainer that counts the epochs it has trained."""

    n_epochs = 0

    def advance(self) -> list[Epoch]:
        epochs = super().advance()
        self.n_epochs += len(epochs)
        return epochs


@pytest.fixture
def folded(arrays: SearchArrays) -> SearchArrays:
    """Return the arrays with three folds of different lengths."""
    rows = np.arange(160)
    held_out = [rows[:60], rows[60:120], rows[120:]]
    return replace(arrays, folds=tuple((np.setdiff1d(rows, fold), fold) for fold in held_out))


def _run(
    storage: StudyStorage,
    spec: WorkerSpec,
    arrays: SearchArrays,
    should_stop: Callable[[CountingTrainer], bool] = lambda _: False,
) -> CountingTrainer:
    study = load_study(storage, spec.study_name, spec.config)
    widths = arrays.widths_by_name(spec.config)
    matrix = Matrix(arrays.vectors, arrays.labels, widths=widths)
    trainer = CountingTrainer(matrix, spec.config.training, 1, 128, 3)
    bench = open_bench(study, storage, spec, arrays, trainer, Owner("worker-0"))
    run_trials(bench, lambda: should_stop(trainer))
    return trainer


def _trials(storage: StudyStorage, spec: WorkerSpec) -> list[FrozenTrial]:
    return load_study(storage, spec.study_name, spec.config).trials


@pytest.mark.parametrize("objective", ["validation_loss", "ap_macro"])
def test_a_trials_value_is_the_mean_of_its_folds(storage, make_spec, folded, objective) -> None:
    spec = make_spec(study={**ONE_TRIAL, "objective": objective}, **QUICK)
    _run(storage, spec, folded)
    (trial,) = _trials(storage, spec)
    of_folds = trial.user_attrs[BY_FOLD]
    assert trial.value == pytest.approx(np.mean(of_folds[objective]), abs=1e-6)
    assert trial.user_attrs[AP_MACRO] == pytest.approx(np.mean(of_folds["ap_macro"]), abs=1e-6)
    assert len(set(of_folds["validation_loss"])) == 3
    assert of_folds["validation_loss"][0] == pytest.approx(min(trial.intermediate_values.values()))
    assert len(trial.intermediate_values) == N_EPOCHS, "it reports of its first fold"
    assert trial.user_attrs[EPOCHS] == 3 * N_EPOCHS


def test_a_trial_that_is_pruned_in_its_first_fold_costs_no_other(
    storage, make_spec, folded
) -> None:
    spec = make_spec(study={**ONE_TRIAL, "n_trials": 2, "pruner": {"n_startup_trials": 1}}, **QUICK)
    study = load_study(storage, spec.study_name, spec.config)
    good = study.ask()
    good.report(0.0, 0)
    study.tell(good, 0.0)
    assert _run(storage, spec, folded).n_epochs == 1
    _, pruned = study.trials
    assert pruned.state == TrialState.PRUNED
    assert BY_FOLD not in pruned.user_attrs


def test_a_trial_that_diverges_in_a_later_fold_fails_and_says_where(
    storage, make_spec, folded
) -> None:
    spec = make_spec(study=ONE_TRIAL, **QUICK)
    labels = folded.labels.copy()
    labels[119] = np.nan  # a training row of the first fold and the third
    second = replace(folded, labels=labels, folds=(folded.folds[1], folded.folds[0]))
    second = replace(second, folds=(_without(second.folds[0], 119), second.folds[1]))
    _run(storage, spec, second, lambda trainer: trainer.n_epochs > N_EPOCHS)
    (failed, *_) = _trials(storage, spec)
    assert failed.state == TrialState.FAIL
    assert failed.user_attrs[FAILURE].endswith("not finite in epoch 1 of fold 2")


def _without(fold: tuple[np.ndarray, np.ndarray], row: int) -> tuple[np.ndarray, np.ndarray]:
    return fold[0][fold[0] != row], fold[1][fold[1] != row]


class Killed(BaseException):
    """Be what ends a worker without a word."""


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_a_trial_goes_on_in_the_fold_where_its_worker_left_it(
    storage, make_spec, folded, study_name: str, *, is_killed: bool
) -> None:
    whole = make_spec(study=ONE_TRIAL, **QUICK)
    _run(storage, whole, folded)
    (expected,) = _trials(storage, whole)
    open_study(storage, f"{study_name}-cut", whole.config, "fingerprint")
    cut = replace(whole, study_name=f"{study_name}-cut")
    study = load_study(storage, cut.study_name, cut.config)

    def leave_in_the_third_fold(trainer: CountingTrainer) -> bool:
        is_there = trainer.n_epochs >= 2 * N_EPOCHS + 2
        if is_there and is_killed:
            running = owners_of_running(storage, study._study_id)
            retry(storage, study._study_id, running, Failure(FailureKind.LOST, "lost: killed"))
            raise Killed
        return is_there

    with pytest.raises(Killed) if is_killed else nullcontext():
        _run(storage, cut, folded, leave_in_the_third_fold)
    n_after = _run(storage, cut, folded).n_epochs
    *left, done = _trials(storage, cut)
    assert {trial.state for trial in left} == {TrialState.FAIL}
    assert n_after <= 3 if is_killed else n_after == 2
    assert done.user_attrs[RETRY_OF] == left[0].number
    assert done.user_attrs[RESUMED_AT] == 3 * N_EPOCHS - n_after
    assert done.user_attrs[EPOCHS] == expected.user_attrs[EPOCHS]
    assert done.value == pytest.approx(expected.value, rel=1e-6)
    assert done.user_attrs[BY_FOLD] == expected.user_attrs[BY_FOLD]
    assert done.intermediate_values == pytest.approx(expected.intermediate_values)


def test_each_fold_has_a_seed_of_its_own() -> None:
    assert len({trial_seed(42, number, fold) for number in range(50) for fold in range(10)}) == 500
