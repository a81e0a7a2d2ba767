"""Decide which trials are stopped early."""

from optuna.pruners import MedianPruner

from shared.config import PrunerConfig


def build_pruner(config: PrunerConfig) -> MedianPruner:
    """Build Optuna's median pruner.

    A trial is pruned when its best value so far is worse than the median of the complete trials'
    values at the same step (Golovin et al. 2017, Google Vizier, section 3.1).
    """
    return MedianPruner(
        n_startup_trials=config.n_startup_trials,
        n_warmup_steps=config.n_warmup_steps,
        interval_steps=config.interval_steps,
    )
