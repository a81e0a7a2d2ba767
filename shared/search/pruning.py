"""Decide which trials are stopped early."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from optuna.pruners import MedianPruner

from shared.sections import PrunerConfig


def build_pruner(config: PrunerConfig) -> MedianPruner:
    """Build Optuna's median pruner, for those who open the study with Optuna.

    A trial is pruned when its best value so far is worse than the median of the complete trials'
    values at the same step (Golovin et al. 2017, Google Vizier, section 3.1).
    """
    return MedianPruner(
        n_startup_trials=config.n_startup_trials,
        n_warmup_steps=config.n_warmup_steps,
        interval_steps=config.interval_steps,
    )


class Medians:
    """Decide as Optuna's MedianPruner does of losses, without reading the study at every step.

    It needs to be told of each complete trial once: these never change, and the median looks at
    nothing else.
    """

    def __init__(self, config: PrunerConfig) -> None:
        """Start without any complete trial."""
        self._config = config
        self._values: defaultdict[int, list[float]] = defaultdict(list)
        self.n_complete = 0

    def add(self, values: Mapping[int, float]) -> None:
        """Take in the intermediate values, by step, of a trial that is complete."""
        for step, value in values.items():
            self._values[step].append(value)
        self.n_complete += 1

    def should_prune(self, values: Mapping[int, float]) -> bool:
        """Say whether a trial with these intermediate values, by step, is to be stopped now."""
        config = self._config
        if self.n_complete < max(1, config.n_startup_trials) or not values:
            return False
        step = max(values)
        since_warmup = step - config.n_warmup_steps
        if since_warmup < 0 or not self._is_first_of_interval(since_warmup, step, values):
            return False
        reported = np.fromiter(values.values(), float)
        if np.isnan(reported).all():
            return True
        others = np.array(self._values.get(step, ()), dtype=float)
        if np.isnan(others).all():
            return False
        with np.errstate(invalid="ignore"):  # the median of infinities alone is NaN
            best, median = np.nanmin(reported), np.nanpercentile(others, 50)
            return bool(best > median)

    def _is_first_of_interval(
        self, since_warmup: int, step: int, values: Mapping[int, float]
    ) -> bool:
        previous = max((other for other in values if other != step), default=-1)
        return previous < step - since_warmup % self._config.interval_steps
