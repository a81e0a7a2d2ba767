import math
from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.sampler import _split_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from shared.config.space import SpaceConfig
from shared.study.sampler import tpe
from shared.study.sampler.history import History
from shared.study.sampler.tpe import Densities, FastTPESampler, reseed
from shared.study.space import suggest
from shared.study.tables.trials import Begun
from shared.training.params import HeadParams

WIDTHS = {"encoder": 384}
SPACE: dict[str, BaseDistribution] = {
    "float": FloatDistribution(-1.0, 2.0),
    "log": FloatDistribution(1e-4, 1e-1, log=True),
    "int": IntDistribution(8, 128),
    "log_int": IntDistribution(48, 384, log=True),
    "kind": CategoricalDistribution(("a", "b", "c")),
}


class ReseededTPESampler(TPESampler):
    """Optuna's own, but for the random numbers, which it draws for each trial as ours does."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=10, constant_liar=True)
        self._seed = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        super().before_trial(study, trial)
        reseed(self, self._seed, trial.number)


def _draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Draw in Optuna's internal form, some of it at the bounds."""
    return {
        "float": np.append(rng.uniform(-1, 2, n - 1), 2.0),
        "log": np.append(np.exp(rng.uniform(math.log(1e-4), math.log(1e-1), n - 1)), 1e-4),
        "int": np.append(rng.integers(8, 129, n - 1), 8).astype(float),
        "log_int": np.append(rng.integers(48, 385, n - 1), 384).astype(float),
        "kind": rng.integers(0, 3, n).astype(float),
    }


@given(seed=st.integers(0, 2**32), n=st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_the_densities_are_those_of_optuna(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    seen, asked = _draw(rng, n), _draw(rng, 24)
    parameters = TPESampler()._parzen_estimator_parameters
    ours, optunas = (cls(seen, SPACE, parameters) for cls in (Densities, _ParzenEstimator))
    np.testing.assert_allclose(ours.log_pdf(asked), optunas.log_pdf(asked), rtol=1e-8)
    drawn, expected = (of.sample(np.random.RandomState(seed % 99), 24) for of in (ours, optunas))
    for name in SPACE:
        np.testing.assert_allclose(drawn[name], expected[name], rtol=1e-6, err_msg=name)


def _suggest_next(study: Study, n_asks: int) -> list[HeadParams]:
    return [suggest(study.ask(), SpaceConfig(), WIDTHS) for _ in range(n_asks)]


def _same(ours: list[HeadParams], optunas: list[HeadParams]) -> bool:
    """Say whether suggestions are the same, dropout to the precision of Optuna's quantiles."""

    def exact(head: HeadParams) -> HeadParams:
        return replace(head, layers=tuple(replace(layer, dropout=0.0) for layer in head.layers))

    def dropouts(heads: list[HeadParams]) -> list[float]:
        return [layer.dropout for head in heads for layer in head.layers]

    is_same = [exact(head) for head in ours] == [exact(head) for head in optunas]
    return is_same and np.allclose(dropouts(ours), dropouts(optunas), rtol=1e-6)


def _suggest_next_of(history: History, first: int, n_asks: int) -> list[HeadParams]:
    params = []
    for number in range(first, first + n_asks):
        trial = history.begin(Begun(number, number))
        params.append(suggest(trial, SpaceConfig(), WIDTHS))
        history.end_of_asking(number)
    return params


def _filled(n_trials: int, seed: int) -> Study:
    """Return a study in memory of random trials, a third of them pruned."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    values = np.random.default_rng(seed).random(n_trials)
    for i, value in enumerate(values):
        trial = study.ask()
        suggest(trial, SpaceConfig(), WIDTHS)
        trial.report(float(value), i % 5)
        if i % 3:
            study.tell(trial, float(value))
        else:
            study.tell(trial, state=TrialState.PRUNED)
    study.sampler = ReseededTPESampler(seed)
    return study


def _filled_of_two_objectives(n_trials: int, seed: int) -> Study:
    sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.create_study(directions=("minimize", "maximize"), sampler=sampler)
    rng = np.random.default_rng(seed)
    for _ in range(n_trials):
        trial = study.ask()
        suggest(trial, SpaceConfig(), WIDTHS)
        study.tell(trial, (rng.integers(0, 1000, 2) / 1000).tolist())
    study.sampler = ReseededTPESampler(seed)
    return study


def _history_of(
    study: Study, seed: int, trials_per_change: float = tpe.TRIALS_PER_CHANGE
) -> History:
    history = History(study, FastTPESampler(seed, 10, trials_per_change))
    for trial in study.get_trials(deepcopy=False):
        params = {
            name: (distribution.to_internal_repr(trial.params[name]), distribution)
            for name, distribution in trial.distributions.items()
        }
        history.begin(Begun(trial.number, trial.number, params=params))
        history.finish(trial.number, trial.state, trial.values, trial.intermediate_values)
    return history


@pytest.mark.parametrize(("n_trials", "seed"), [(5, 0), (12, 1), (30, 2), (44, 3)])
def test_suggestions_in_a_small_study_are_those_of_optuna(n_trials: int, seed: int) -> None:
    study = _filled(n_trials, seed)
    history = _history_of(study, seed)
    assert _same(_suggest_next_of(history, n_trials, 5), _suggest_next(study, 5))


@pytest.mark.parametrize(("n_trials", "seed"), [(150, 4), (600, 5)])
def test_suggestions_in_a_large_study_are_those_of_optuna_when_densities_are_new(
    n_trials: int, seed: int
) -> None:
    study = _filled(n_trials, seed)
    history = _history_of(study, seed, math.inf)
    assert _same(_suggest_next_of(history, n_trials, 3), _suggest_next(study, 3))


@pytest.mark.parametrize(("n_trials", "seed"), [(30, 6), (400, 7)])
def test_suggestions_for_several_objectives_are_those_of_optuna_when_densities_are_new(
    n_trials: int, seed: int
) -> None:
    study = _filled_of_two_objectives(n_trials, seed)
    history = _history_of(study, seed, math.inf)
    assert _same(_suggest_next_of(history, n_trials, 3), _suggest_next(study, 3))


def test_no_good_trial_of_several_objectives_is_forgotten_after_the_first_thousand() -> None:
    study = _filled_of_two_objectives(1500, 8)
    history, n_good = _history_of(study, 8), 150
    assert history.n_good == n_good
    held = history.study.get_trials(deepcopy=False)
    assert len(held) < 1500, "of the others the oldest are let go of"
    ours, theirs = (
        [trial.number for trial in _split_trials(study, trials, n_good)[0]]
        for trials in (held, study.get_trials(deepcopy=False))
    )
    assert ours == theirs
    sampler = history.study.sampler
    assert isinstance(sampler, FastTPESampler)
    sampler._look_at(history.study, history)
    assert [trial.number for trial in sampler._split[0]] == theirs


def test_densities_are_kept_until_enough_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    history = _history_of(_filled(150, 0), 0)
    sampler, made = history.study.sampler, []
    build = sampler._build_parzen_estimator
    monkeypatch.setattr(
        sampler, "_build_parzen_estimator", lambda *a, **kw: made.append(a[1]) or build(*a, **kw)
    )
    _suggest_next_of(history, 150, 4)
    after_four = len(made)
    _suggest_next_of(history, 154, 1)
    assert len(made) > after_four, "the fourth change is more than 2 % of 150"
    relative = [space for space in made if "n_layers" in space]
    assert len(relative) == 4


def test_outside_of_a_history_it_is_optunas_sampler() -> None:
    study = _filled(60, 7)
    expected = _suggest_next(study, 2)
    study = _filled(60, 7)
    study.sampler = FastTPESampler(7, n_startup_trials=10)
    trial: Trial = study.ask()
    assert _same([suggest(trial, SpaceConfig(), WIDTHS)], expected[:1])
