import math

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma_multiobjective
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from shared.config.sections import StudyConfig
from shared.config.sweep import SweepConfig
from shared.study.attributes import Failure, FailureKind
from shared.study.budget import ask
from shared.study.liveness import retry
from shared.study.sampler import history as history_module
from shared.study.sampler.history import History
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.write import write_params
from tests.rows import rows_read

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


def _small(monkeypatch: pytest.MonkeyPatch, latest: int, slack: int = 0) -> None:
    monkeypatch.setattr(history_module, "KEPT_LATEST", latest)
    monkeypatch.setattr(history_module, "SLACK", slack)


def test_the_oldest_are_let_go_of_unless_they_are_good(
    storage: StudyStorage, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small(monkeypatch, latest=3)
    followed = History(study, RandomSampler(seed=0))
    for value in (0.5, 0.1, 0.6, 0.2, None, 0.7, 0.8, 0.9, 0.85):
        _finish(study, value)
        followed.refresh(storage)
        followed.study.get_trials()
    fresh = History(study, RandomSampler(seed=0))
    fresh.refresh(storage)
    for history, held in ((followed, [1, 6, 7, 8]), (fresh, [1, 3, 6, 7, 8])):
        assert [t.number for t in history.study.get_trials()] == held
        assert all(t.params for t in history.study.get_trials())
        assert (history.n_finished, history.n_good) == (9, 1)


def test_its_first_reading_is_bounded_however_many_trials_there_are(
    storage: StudyStorage, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small(monkeypatch, latest=3)
    read = []
    for _ in range(2):
        for i in range(25):
            _finish(study, None if i % 3 == 0 else i / 10)
        with rows_read(storage) as rows:
            History(study, RandomSampler(seed=0)).refresh(storage)
        read.append(sum(rows))
    assert read[1] - read[0] <= 30, "as for five more good trials, but not for 25 trials more"


def test_an_ended_trial_that_was_skipped_never_comes_back(
    storage: StudyStorage, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small(monkeypatch, latest=2, slack=9)
    running = study.ask()
    for value in (0.9, 0.1, 0.8, 0.7, 0.6):
        _finish(study, value)
    history = History(study, RandomSampler(seed=0))
    history.refresh(storage)
    study.tell(running, 0.5)
    history.refresh(storage)
    assert [t.number for t in history.study.get_trials()] == [0, 2, 4, 5]
    assert history.n_finished == 6


def _two_objectives(storage: StudyStorage, name: str) -> Study:
    config = SweepConfig(study=StudyConfig(objective=("validation_loss", "ap_weighted")))
    return open_study(storage, name, config, "f")


def _add(study: Study, rng: np.random.Generator, n: int) -> None:
    study.add_trials(
        create_trial(
            values=(rng.integers(0, 30, 2) / 30).tolist(),
            params={"x": float(rng.random())},
            distributions={"x": FloatDistribution(0, 1)},
        )
        for _ in range(n)
    )


def _good(study: Study, n_good: int) -> list[int]:
    return [t.number for t in _split_trials(study, study.get_trials(), n_good)[0]]


@pytest.mark.parametrize("seed", range(3))
def test_the_good_trials_of_several_objectives_are_those_of_optuna(
    storage: StudyStorage, study_name: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    _small(monkeypatch, latest=8, slack=4)
    study, rng = _two_objectives(storage, study_name), np.random.default_rng(seed)
    followed = History(study, RandomSampler(seed=0))
    for n in (30, 20, 7, 60, 13):
        _add(study, rng, n)
        fresh = History(study, RandomSampler(seed=0))
        n_finished = len(study.trials)
        n_good = default_gamma_multiobjective(n_finished)
        for history in (fresh, followed):
            history.refresh(storage)
            assert (history.n_finished, history.n_good) == (n_finished, n_good)
            assert _good(history.study, n_good) == _good(study, n_good)
        assert len(fresh.study.get_trials()) < n_finished


def test_pruned_trials_count_as_good_where_complete_ones_are_too_few(
    storage: StudyStorage, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small(monkeypatch, latest=2)
    for last_step, loss in (
        (0, 0.1),
        (2, math.nan),
        (2, 0.9),
        (2, 0.3),
        (1, 0.2),
        (None, 0),
        (0, 9),
    ):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        if last_step is not None:
            trial.report(loss, last_step)
        study.tell(trial, state=TrialState.PRUNED)
    for _ in range(4):
        _finish(study, None)
    history = History(study, RandomSampler(seed=0))
    history.refresh(storage)
    assert history.n_good == 2
    assert _good(history.study, 2) == _good(study, 2)
