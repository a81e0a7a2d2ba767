"""A search with several objectives, on PostgreSQL, read by us and by Optuna."""

import optuna
import pytest
from optuna.study import Study
from optuna.trial import TrialState

from orchestrator.status.study_reader import StudyReader
from shared.study.attributes import AP_MACRO
from shared.study.study import load_study, read_progress
from shared.study.tables.study_storage import StudyStorage
from workers import SearchArrays, WorkerSpec
from workers.worker import run_worker

N_TRIALS = 14
OBJECTIVES = ["ap_macro", "n_parameters", "latency_ms"]


@pytest.fixture
def spec(make_spec) -> WorkerSpec:
    """Return a search that would prune, had it one objective."""
    study = {"n_trials": N_TRIALS, "objective": OBJECTIVES, "sampler": {"n_startup_trials": 5}}
    return make_spec(
        study={**study, "pruner": {"n_startup_trials": 1}},
        training={"max_epochs": 4},
        space={"n_layers": {"low": 1, "high": 1}, "min_units": 4, "max_units": 64},
    )


def _searched(storage: StudyStorage, spec: WorkerSpec, arrays: SearchArrays) -> Study:
    run_worker(spec, arrays, "worker-0", lambda: False)
    return load_study(storage, spec.study_name, spec.config)


def test_the_pareto_front_is_that_of_optuna(storage, spec, arrays: SearchArrays) -> None:
    study = _searched(storage, spec, arrays)
    plain = optuna.load_study(study_name=spec.study_name, storage=spec.storage_url)
    followed = StudyReader(study._study_id, study.directions).read(storage)
    expected = {trial.number: tuple(trial.values) for trial in plain.best_trials}
    assert {one.trial: one.values for one in followed.front} == expected
    assert plain.metric_names == OBJECTIVES

    trials = plain.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * N_TRIALS, "none is pruned"
    for trial in trials:
        units = trial.params["n_units_l0"]
        assert trial.values[0] == pytest.approx(trial.user_attrs[AP_MACRO], abs=1e-6)
        assert trial.values[1] == (8 + 1) * units + (units + 1) * 3
        assert trial.values[2] > 0

    best = read_progress(study).best
    assert best is not None
    assert best.number in expected
    assert best.values[0] == max(trial.values[0] for trial in trials)
    assert followed.improvements[-1].trial == best.number
    assert followed.best_values == tuple(best.values)
