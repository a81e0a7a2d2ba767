import math
import tracemalloc
from random import random

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from shared.config.sections import PrunerConfig
from shared.study.pruning import Medians, build_pruner


def _worse_than_median_is_pruned(config: PrunerConfig, step: int) -> bool:
    study = optuna.create_study(pruner=build_pruner(config))
    for value in (0.1, 0.2, 0.3):
        trial = study.ask()
        for earlier in range(step + 1):
            trial.report(value, earlier)
        study.tell(trial, value)
    trial = study.ask()
    for earlier in range(step + 1):
        trial.report(0.9, earlier)
    return trial.should_prune()


def test_a_trial_worse_than_the_median_is_pruned() -> None:
    assert _worse_than_median_is_pruned(PrunerConfig(n_startup_trials=3), step=0)


def test_nothing_is_pruned_before_enough_trials_are_complete() -> None:
    assert not _worse_than_median_is_pruned(PrunerConfig(n_startup_trials=4), step=0)


def test_nothing_is_pruned_while_warming_up() -> None:
    config = PrunerConfig(n_startup_trials=3, n_warmup_steps=5)
    assert not _worse_than_median_is_pruned(config, step=4)
    assert _worse_than_median_is_pruned(config, step=5)


def test_the_median_is_looked_at_every_interval() -> None:
    config = PrunerConfig(n_startup_trials=3, interval_steps=3)
    assert not _worse_than_median_is_pruned(config, step=1)
    assert _worse_than_median_is_pruned(config, step=3)


VALUES = st.dictionaries(
    st.integers(0, 7),
    st.floats(-3, 3, width=16) | st.sampled_from([math.inf, -math.inf, math.nan]),
    max_size=6,
)
STATES = st.sampled_from([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED])


@given(
    trials=st.lists(st.tuples(VALUES, STATES), max_size=8),
    values=VALUES,
    config=st.builds(
        PrunerConfig,
        n_startup_trials=st.integers(0, 4),
        n_warmup_steps=st.integers(0, 4),
        interval_steps=st.integers(1, 4),
    ),
)
@settings(max_examples=400, deadline=None)
# Optuna takes the median of nothing but NaN or infinities as well, and is warned by NumPy.
@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:invalid value")
def test_decisions_are_those_of_optunas_pruner(trials, values, config: PrunerConfig) -> None:
    study, medians = optuna.create_study(), Medians(config)
    for reported, state in trials:
        study.add_trial(create_trial(state=state, value=1.0, intermediate_values=reported))
        if state == TrialState.COMPLETE:
            medians.add(reported)
    running = create_trial(state=TrialState.RUNNING, intermediate_values=values)
    assert medians.should_prune(values) == build_pruner(config).prune(study, running)


LOSSES = st.lists(st.dictionaries(st.integers(0, 3), st.floats(0, 1)), max_size=20)


@given(trials=LOSSES, values=VALUES.filter(bool), n_latest=st.integers(1, 20))
@settings(max_examples=100, deadline=None)
@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:invalid value")
def test_of_many_trials_the_latest_alone_decide(trials, values, n_latest: int) -> None:
    config = PrunerConfig(n_startup_trials=1)
    whole, latest = Medians(config), Medians(config)
    whole.n_latest = n_latest
    for reported in trials:
        whole.add(reported)
        whole.should_prune(values)
    for reported in trials[-n_latest:]:
        latest.add(reported)
    assert whole.n_complete == latest.n_complete
    assert whole.should_prune(values) == latest.should_prune(values)


def test_memory_does_not_grow_with_the_study() -> None:
    medians = Medians(PrunerConfig())
    medians.n_latest = 100
    losses = [{step: random() for step in range(50)} for _ in range(10)]

    def complete(n: int) -> int:
        for i in range(n):
            medians.add(losses[i % len(losses)])
            medians.should_prune(losses[0])
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        full = complete(medians.n_latest)
        assert complete(500) < full + 50_000
    finally:
        tracemalloc.stop()


def test_a_median_is_computed_once_and_not_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    medians, computed = Medians(PrunerConfig(n_startup_trials=1)), []
    monkeypatch.setattr(
        "shared.study.pruning.np.nanpercentile", lambda *_: computed.append(1) or 0.5
    )
    medians.add({0: 0.5, 1: 0.5})
    for _ in range(3):
        assert not medians.should_prune({0: 0.4})
    medians.add({1: 0.5})
    assert not medians.should_prune({0: 0.4})
    assert len(computed) == 1, "the second trial says nothing of this step"


def test_a_study_with_more_startup_trials_than_are_kept_is_pruned_at_last() -> None:
    medians = Medians(PrunerConfig(n_startup_trials=1200))
    for _ in range(1199):
        medians.add({0: 0.5})
    assert not medians.should_prune({0: 0.6})
    medians.add({0: 0.5})
    assert medians.should_prune({0: 0.6})
