from dataclasses import replace

import pytest
from optuna.trial import TrialState

from shared.errors import TagsweepError
from shared.study.attributes import FAILURE, RETRY_OF, WORKER, Owner
from shared.study.budget import ask
from shared.study.study import load_study
from shared.study.tables.study_storage import StudyStorage
from workers import SearchArrays
from workers.worker import run_worker


def test_a_worker_pulls_trials_until_the_budget_is_spent(
    storage: StudyStorage, make_spec, arrays: SearchArrays
) -> None:
    spec = make_spec()
    run_worker(spec, arrays, "worker-0", lambda: False)
    trials = load_study(storage, spec.study_name, spec.config).trials
    assert len(trials) == 6
    assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in trials)
    assert {t.user_attrs[WORKER] for t in trials} == {"worker-0"}


def test_a_worker_leaves_when_it_is_told_to(
    storage: StudyStorage, make_spec, arrays: SearchArrays
) -> None:
    spec = make_spec()
    run_worker(spec, arrays, "worker-0", lambda: True)
    trials = load_study(storage, spec.study_name, spec.config).trials
    assert all(trial.state in (TrialState.FAIL, TrialState.WAITING) for trial in trials)


def test_a_worker_refuses_a_study_about_other_data(make_spec, arrays: SearchArrays) -> None:
    with pytest.raises(TagsweepError, match="was sent data with fingerprint other"):
        run_worker(replace(make_spec(), fingerprint="other"), arrays, "worker-0", lambda: False)


def test_a_worker_runs_the_trial_again_that_its_predecessor_left(
    storage: StudyStorage, make_spec, arrays: SearchArrays
) -> None:
    spec = replace(make_spec(study={"n_trials": 1}), driver_id="d")
    study = load_study(storage, spec.study_name, spec.config)
    ask(storage, study._study_id, attrs=Owner("worker-0", "d").attrs)
    run_worker(spec, arrays, "worker-0", lambda: False)
    lost, done = study.trials
    assert lost.state == TrialState.FAIL
    assert lost.user_attrs[FAILURE].startswith("lost")
    assert done.state == TrialState.COMPLETE
    assert done.user_attrs[RETRY_OF] == lost.number


@pytest.mark.parametrize("driver", [None, "another"])
def test_a_worker_leaves_trials_of_its_name_that_are_not_its_predecessors(
    storage: StudyStorage, make_spec, arrays: SearchArrays, driver: str | None
) -> None:
    """Two containers may both have a worker-0, and a host may be called so."""
    spec = replace(make_spec(study={"n_trials": 2}), driver_id="d")
    study = load_study(storage, spec.study_name, spec.config)
    ask(storage, study._study_id, attrs=Owner("worker-0", driver).attrs)
    run_worker(
        spec, arrays, "worker-0", lambda: bool(study.get_trials(states=(TrialState.COMPLETE,)))
    )
    assert study.trials[0].state == TrialState.RUNNING
