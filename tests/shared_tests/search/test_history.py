import pytest
from optuna.samplers import RandomSampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.study import Study
from optuna.trial import TrialState

from shared.config import SweepConfig
from shared.search import history as history_module
from shared.search.attributes import Failure, FailureKind
from shared.search.budget import ask
from shared.search.bulk_write import write_params
from shared.search.history import History
from shared.search.liveness import retry
from shared.search.study import open_study
from shared.search.study_storage import StudyStorage
from shared.sections import StudyConfig

LOST = Failure(FailureKind.LOST, "lost")


@pytest.fixture
def study(storage: StudyStorage, study_name: str) -> Study:
    return open_study(storage, study_name, SweepConfig(), "f")


@pytest.fixture
def history(study: Study) -> History:
    return History(study, RandomSampler(seed=0))


def _finish(study: Study, value: float | None) -> None:
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.suggest_categorical("kind", ("a", "b"))
    trial.report(0.9, 0)
    trial.report(0.8, 3)
    if value is None:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, value)


def test_it_shows_what_the_sampler_would_read_from_the_study(
    storage: StudyStorage, study: Study, history: History
) -> None:
    for value in (0.5, None, 0.25):
        _finish(study, value)
    study.tell(study.ask(), state=TrialState.FAIL)
    study.ask().suggest_float("x", 0, 1)
    study.enqueue_trial({"x": 0.5})
    history.refresh(storage)
    shown = history.study.get_trials()
    seen = {TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING}
    expected = [trial for trial in study.trials if trial.state in seen]
    assert [(t.number, t.state, t.values) for t in shown] == [
        (t.number, t.state, t.values) for t in expected
    ]
    assert [t.params for t in shown] == [t.params for t in expected]
    assert [t.distributions for t in shown] == [t.distributions for t in expected]
    assert shown[1].intermediate_values == {3: 0.8}


def test_reported_losses_count_as_losses_where_the_value_is_maximised(
    storage: StudyStorage, study_name: str
) -> None:
    config = SweepConfig(study=StudyConfig(objective="ap_weighted"))
    study = open_study(storage, study_name, config, "f")
    for loss in (0.9, 0.3, 0.6):
        trial = study.ask()
        trial.report(loss, 0)
        study.tell(trial, state=TrialState.PRUNED)
    history = History(study, RandomSampler(seed=0))
    history.refresh(storage)
    below, above = _split_trials(history.study, history.study.get_trials(), 1)
    assert [trial.number for trial in below] == [1]
    assert len(above) == 2


def test_a_running_trial_becomes_a_finished_one(
    storage: StudyStorage, study: Study, history: History
) -> None:
    trial = study.ask()
    history.refresh(storage)
    trial.suggest_float("x", 0, 1)
    history.refresh(storage)
    assert history.n_changes == 1
    study.tell(trial, 0.5)
    history.refresh(storage)
    (shown,) = history.study.get_trials()
    assert (shown.state, shown.params) == (TrialState.COMPLETE, study.trials[0].params)
    history.refresh(storage)
    assert history.n_changes == 2


def test_what_is_suggested_here_is_what_the_study_gets(
    storage: StudyStorage, study: Study, history: History
) -> None:
    study.enqueue_trial({"x": 0.125})
    begun = ask(storage, study._study_id, n=2)
    history.refresh(storage)
    suggested = {}
    for one in begun:
        trial = history.begin(one)
        trial.suggest_float("x", 0, 1)
        trial.suggest_int("n", 1, 100, log=True)
        suggested[one.trial_id] = history.end_of_asking(one.trial_id)
    storage.transact(lambda connection: write_params(connection, suggested))
    history.refresh(storage)
    assert [t.params for t in study.trials] == [t.params for t in history.study.get_trials()]
    assert study.trials[0].params["x"] == 0.125
    assert history.n_changes == 2


def test_a_trial_that_runs_again_keeps_its_parameters(
    storage: StudyStorage, study: Study, history: History
) -> None:
    lost = study.ask()
    values = (lost.suggest_float("x", 0, 1), lost.suggest_categorical("kind", ("a", "b")))
    retry(storage, study._study_id, [lost._trial_id], LOST)
    (begun,) = ask(storage, study._study_id)
    history.refresh(storage)
    trial = history.begin(begun)
    again = (trial.suggest_float("x", 0, 1), trial.suggest_categorical("kind", ("a", "b")))
    assert again == values


def test_the_oldest_are_let_go_of_unless_they_are_good(
    storage: StudyStorage, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("KEPT_BEST", 2), ("KEPT_LATEST", 3), ("SLACK", 0)):
        monkeypatch.setattr(history_module, name, value)
    for value in (0.5, 0.1, 0.6, 0.2, None, 0.7, 0.8, 0.9, 0.85):
        _finish(study, value)
    history = History(study, RandomSampler(seed=0))
    history.refresh(storage)
    assert [t.number for t in history.study.get_trials()] == [1, 3, 6, 7, 8]
    assert all(t.params for t in history.study.get_trials())
