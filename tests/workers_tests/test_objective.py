import numpy as np
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from shared.search.budget import ask
from shared.search.study import FAILURE, load_study
from shared.training.fit import FitData, to_device
from workers import SearchArrays, WorkerSpec
from workers.objective import run_trial, trial_seed


@pytest.fixture(scope="module")
def data(arrays: SearchArrays) -> FitData:
    return to_device(arrays.vectors, arrays.labels, arrays.train_rows, arrays.valid_rows)


def _run(
    storage: RDBStorage, spec: WorkerSpec, data: FitData, *, stopping: bool = False
) -> FrozenTrial:
    study = load_study(storage, spec.study_name, spec.config, worker=0)
    trial = ask(study, storage, spec.config.study.n_trials)
    assert trial
    run_trial(study, trial, spec, data, lambda: stopping)
    return study.trials[trial.number]


def test_a_trial_completes_with_its_best_validation_loss(storage, make_spec, data) -> None:
    trial = _run(storage, make_spec(), data)
    assert trial.state == TrialState.COMPLETE
    assert trial.value == pytest.approx(min(trial.intermediate_values.values()))
    assert list(trial.intermediate_values) == list(range(trial.user_attrs["epochs"]))


def test_a_complete_trial_says_its_average_precision(storage, make_spec, data) -> None:
    attrs = _run(storage, make_spec(), data).user_attrs
    assert 0.5 < attrs["ap_macro"] <= 1
    assert 0.5 < attrs["ap_weighted"] <= 1
    assert attrs["seconds"] > 0


def test_a_trial_worse_than_the_median_is_pruned(storage, make_spec, data) -> None:
    spec = make_spec()
    study = load_study(storage, spec.study_name, spec.config, worker=0)
    for _ in range(2):
        good = study.ask()
        good.report(0.0, 0)
        study.tell(good, 0.0)
    trial = _run(storage, spec, data)
    assert trial.state == TrialState.PRUNED
    assert len(trial.intermediate_values) == 1


def test_a_diverged_trial_fails_with_its_reason(storage, make_spec, data) -> None:
    rate = {"low": 1e30, "high": 1e30}
    spec = make_spec(
        space={"learning_rate": rate, "optimizer": ("sgd",), "activation": ("linear",)}
    )
    trial = _run(storage, spec, data)
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[FAILURE].startswith("diverged: the loss was not finite")


def test_a_stopped_trial_is_given_up_after_its_epoch(storage, make_spec, data) -> None:
    trial = _run(storage, make_spec(), data, stopping=True)
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[FAILURE].startswith("interrupted")
    assert len(trial.intermediate_values) == 1


def test_an_error_of_the_program_fails_the_trial_and_is_raised(
    storage, make_spec, arrays: SearchArrays
) -> None:
    broken = to_device(arrays.vectors, arrays.labels, np.array([999]), arrays.valid_rows)
    spec = make_spec()
    with pytest.raises(Exception, match="999"):
        _run(storage, spec, broken)
    trial = load_study(storage, spec.study_name, spec.config, 0).trials[0]
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[FAILURE].startswith("error: ")


def test_trials_have_seeds_of_their_own() -> None:
    assert len({trial_seed(42, number) for number in range(1000)}) == 1000
    assert trial_seed(42, 7) == trial_seed(42, 7) != trial_seed(43, 7)
