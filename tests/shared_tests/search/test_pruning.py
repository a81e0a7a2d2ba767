import optuna

from shared.config import PrunerConfig
from shared.search.pruning import build_pruner


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
