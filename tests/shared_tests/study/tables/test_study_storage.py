import time
from collections.abc import Iterator

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from shared.study.tables.study_storage import StudyStorage


@pytest.fixture(params=["UTC", "East-9"])
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Live in a time zone, which times are kept without."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def study(storage: StudyStorage, study_name: str) -> Study:
    """Return a study with two objectives and a trial in each state, some values not finite."""
    study = optuna.create_study(
        storage=storage, study_name=study_name, directions=["minimize", "maximize"]
    )
    study.enqueue_trial({"x": 0.5})
    first = study.ask()
    first.suggest_float("x", 0, 1)
    first.suggest_categorical("kind", ["a", "b"])
    first.set_user_attr("reason", {"ü": [1, None]})
    study.tell(first, [float("inf"), 2.0])
    study.add_trial(
        create_trial(
            state=TrialState.PRUNED,
            intermediate_values={3: float("nan"), 1: float("-inf"), 2: 0.5},
            system_attrs={"fixed_params": {"x": 1}},
        )
    )
    study.tell(study.ask(), state=TrialState.FAIL)
    study.ask()
    study.enqueue_trial({"x": 0.25})
    return study


@pytest.mark.usefixtures("zone")
def test_it_reads_what_optunas_own_storage_reads(study: Study, storage: StudyStorage) -> None:
    assert isinstance(storage, StudyStorage)
    ours = storage.get_all_trials(study._study_id)
    theirs = RDBStorage._get_trials(storage, study._study_id, None, set(), -1)
    assert [repr(trial) for trial in ours] == [repr(trial) for trial in theirs]  # nan is not nan
    assert [list(trial.params) for trial in ours] == [list(trial.params) for trial in theirs]
    assert len({trial.state for trial in ours}) == len(TrialState)


def test_it_reads_only_what_is_asked_for(study: Study, storage: StudyStorage) -> None:
    ids = [trial._trial_id for trial in study.trials]
    found = storage._get_trials(study._study_id, None, {ids[0], ids[4]}, ids[2])
    assert [trial._trial_id for trial in found] == [ids[0], ids[3], ids[4]]
    (pruned,) = storage.get_all_trials(study._study_id, states=(TrialState.PRUNED,))
    assert pruned.number == 1


def test_a_study_that_is_not_there_is_named(storage: StudyStorage) -> None:
    with pytest.raises(KeyError):
        storage.get_all_trials(-1)
