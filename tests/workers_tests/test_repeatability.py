from collections.abc import Callable
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from shared.config.sweep import with_values
from shared.study.study import accept_config, load_study
from shared.study.tables.study_storage import StudyStorage
from workers import SearchArrays, WorkerSpec
from workers.worker import run_worker

N_TRIALS = 14
"""More than are sampled at random, so that what is known decides on the others."""


def _what_matters(trial: FrozenTrial) -> tuple[Any, ...]:
    return trial.number, trial.state, trial.params, trial.values, trial.intermediate_values


def _search(
    storage: StudyStorage, spec: WorkerSpec, arrays: SearchArrays, pauses_at: tuple[int, ...] = ()
) -> list[tuple[Any, ...]]:
    """Return the trials of a search, by a new worker after each pause."""
    study = load_study(storage, spec.study_name, spec.config)
    for n_trials in (*pauses_at, N_TRIALS):
        accept_config(study, storage, with_values(spec.config, {"study": {"n_trials": n_trials}}))
        run_worker(spec, arrays, "worker-0", lambda: False)
        assert len(study.trials) == n_trials
    return [_what_matters(trial) for trial in study.trials]


def test_one_worker_of_one_slot_finds_the_same_whether_or_not_it_is_interrupted(
    storage: StudyStorage, make_spec: Callable[..., WorkerSpec], arrays: SearchArrays, study_name
) -> None:
    through = _search(storage, make_spec(workers={"max": 1}), arrays)
    storage.delete_study(storage.get_study_id_from_name(study_name))
    assert _search(storage, make_spec(workers={"max": 1}), arrays, pauses_at=(4, 12)) == through
    states = {state for _, state, *_ in through}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}, "medians had their say"
