import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.dashboard.storage import MAX_CURVES, DashboardStorage, with_fewer_curves
from shared.config.sweep import SweepConfig
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage


def _trials(n: int) -> list[FrozenTrial]:
    """Return complete trials whose values are their numbers, and one that runs."""
    trials = [create_trial(value=float(i), intermediate_values={0: 0.5}) for i in range(n)]
    trials.append(create_trial(state=TrialState.RUNNING, intermediate_values={0: 0.5}))
    for number, trial in enumerate(trials):
        trial.number = number
    return trials


def test_a_study_of_some_trials_is_shown_as_it_is() -> None:
    trials = _trials(MAX_CURVES)
    assert with_fewer_curves(trials, StudyDirection.MINIMIZE) == trials


@pytest.mark.parametrize("direction", [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE])
def test_of_many_the_best_and_the_latest_and_the_running_are_drawn(
    direction: StudyDirection,
) -> None:
    n, half = 4 * MAX_CURVES, MAX_CURVES // 2
    trials = _trials(n)
    if direction is StudyDirection.MAXIMIZE:
        for trial in trials[:n]:
            trial.value = -trial.number
    shown = with_fewer_curves(trials, direction)
    drawn = [trial.number for trial in shown if trial.intermediate_values]
    assert drawn == [*range(half), *range(n - half, n), n]
    assert [trial.params for trial in shown] == [trial.params for trial in trials]
    assert all(trial.intermediate_values for trial in trials), "others hold these too"


def test_it_reads_a_study(storage: StudyStorage, study_name: str) -> None:
    study = open_study(storage, study_name, SweepConfig(), "fingerprint")
    study.add_trials([create_trial(value=1.0, intermediate_values={0: 0.5})])
    found = DashboardStorage(storage).get_all_trials(study._study_id)
    assert found == study.trials
