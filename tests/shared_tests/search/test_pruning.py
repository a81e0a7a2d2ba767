import math

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from shared.search.pruning import Medians, build_pruner
from shared.sections import PrunerConfig


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
