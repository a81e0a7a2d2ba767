"""Sample as Optuna's TPE does, at a cost that does not grow with the study.

Three things differ from `optuna.samplers.TPESampler`, none of which changes what it suggests in a
study of up to 50 trials. The normal distribution comes from SciPy, for all kernels at once, where
Optuna loops over them in Python. The two densities are made once for all parameters, and anew when
2 % of the study is new to them. And `History` shows all trials that are good, as many as Optuna
takes for good of the whole study, but of the others no more than the latest thousand. What each
finds and costs is compared by `benchmarks/sampler.py`.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.probability_distributions import _BatchedCategoricalDistributions
from optuna.samplers._tpe.sampler import _split_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtr, ndtri

from shared.study.sampler.history import Array, History

TRIALS_PER_CHANGE = 50
"""The densities may have missed one change of the study for each so many finished trials."""


class Densities(_ParzenEstimator):
    """Be Optuna's estimator: the same numbers, computed for all kernels at once."""

    def sample(self, rng: np.random.RandomState, size: int) -> dict[str, Array]:
        """Draw `size` samples; takes the same random numbers in the same order as Optuna's."""
        mixture, drawn = self._mixture_distribution, dict[str, Array]()
        kernels = rng.choice(len(mixture.weights), p=mixture.weights, size=size)
        numeric = []
        for name, batch in zip(self._search_space, mixture.distributions, strict=True):
            if isinstance(batch, _BatchedCategoricalDistributions):
                shares = np.cumsum(batch.weights[kernels], axis=1)
                shares[:, -1] = 1
                drawn[name] = (shares < rng.rand(size)[:, None]).sum(axis=1).astype(float)
            else:
                numeric.append((name, batch))
        quantiles = rng.uniform(size=(len(numeric), size))
        for (name, batch), quantile in zip(numeric, quantiles, strict=True):
            drawn[name] = _draw(batch, kernels, quantile)
        return {name: drawn[name] for name in self._search_space}

    def log_pdf(self, samples_dict: dict[str, Array]) -> Array:
        """Return the (n,) log densities of n samples."""
        total = np.log(self._mixture_distribution.weights)[np.newaxis]
        for name, density in zip(self._search_space, self._kernels, strict=True):
            total = total + density(samples_dict[name])
        most = total.max(axis=1, keepdims=True)
        return np.asarray(np.log(np.exp(total - most).sum(axis=1)) + most[:, 0])

    @cached_property
    def _kernels(self) -> list[Any]:
        return [
            _Categorical(batch)
            if isinstance(batch, _BatchedCategoricalDistributions)
            else _Normal(batch)
            for batch in self._mixture_distribution.distributions
        ]


def _draw(batch: Any, kernels: npt.NDArray[np.int64], quantile: Array) -> Array:
    """Return the quantiles of truncated normals whose means lie within the bounds."""
    mu, sigma = batch.mu[kernels], batch.sigma[kernels]
    below = ndtr((batch.adapted_low - mu) / sigma)
    above = ndtr((batch.adapted_high - mu) / sigma)
    x = ndtri(below + quantile * (above - below)) * sigma + mu
    x = np.exp(x) if batch.is_log else x
    if batch.step:
        x = batch.low + np.round((x - batch.low) / batch.step) * batch.step
    return np.asarray(np.clip(x, batch.low, batch.high))


class _Categorical:
    """Compute the (n, K) log probabilities of n choices under K kernels."""

    def __init__(self, batch: Any) -> None:
        self._log_weights = np.log(batch.weights).T

    def __call__(self, x: Array) -> Array:
        return np.asarray(self._log_weights[x.astype(int)])


class _Normal:
    """Compute the (n, K) log densities of n numbers under K truncated normals, or log masses."""

    def __init__(self, batch: Any) -> None:
        kernels, places = np.unique([batch.mu, batch.sigma], axis=1, return_inverse=True)
        self._places = places.ravel()
        self._mu, self._sigma = kernels
        self._batch = batch
        self._log_total = self._log_mass(batch.adapted_low, batch.adapted_high)

    def __call__(self, x: Array) -> Array:
        half, scale = self._batch.step / 2, np.log if self._batch.is_log else np.asarray
        if half:
            log_density = self._log_mass(scale(x - half)[:, None], scale(x + half)[:, None])
        else:
            z = (scale(x)[:, None] - self._mu) / self._sigma
            log_density = -(z**2) / 2 - np.log(np.sqrt(2 * np.pi) * self._sigma)
        return np.asarray(np.take(log_density - self._log_total, self._places, axis=1))

    def _log_mass(self, left: Any, right: Any) -> Array:
        """Return the log of the mass between two bounds.

        It is rounded to 1e-16 far out, where the prior, one kernel as wide as the range, decides.
        """
        mass = ndtr((right - self._mu) / self._sigma) - ndtr((left - self._mu) / self._sigma)
        with np.errstate(divide="ignore"):  # a kernel so far off that it has no say
            return np.asarray(np.log(mass))


def reseed(sampler: TPESampler, seed: int, number: int) -> None:
    """Have a sampler draw for a trial what no other trial's number, and no other seed, gives."""
    seeds = np.random.SeedSequence([seed, number]).generate_state(2)
    for random, one in zip((sampler._rng, sampler._random_sampler._rng), seeds, strict=True):  # noqa: SLF001
        random.rng.seed(one)


class FastTPESampler(TPESampler):
    """Be Optuna's TPE with constant liar; over a `History`, its densities are kept for a while."""

    def __init__(
        self, seed: int, n_startup_trials: int, trials_per_change: float = TRIALS_PER_CHANGE
    ) -> None:
        """Take Optuna's defaults but for the trials that are sampled at random first.

        The densities may have missed one change of the study for each `trials_per_change` finished
        trials; none if that is infinite.
        """
        super().__init__(seed=seed, n_startup_trials=n_startup_trials, constant_liar=True)
        self._seed, self._trials_per_change = seed, trials_per_change
        self._parzen_estimator_cls = Densities
        self._split: tuple[list[FrozenTrial], list[FrozenTrial]] = ([], [])
        self._densities: dict[tuple[str, ...], tuple[_ParzenEstimator, _ParzenEstimator]] = {}
        self._made_at = -1

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Draw from here on what follows from the seed and the trial's number alone.

        So a search that goes on after an interruption goes on with the same trials.
        """
        super().before_trial(study, trial)
        reseed(self, self._seed, trial.number)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return what all finished trials have in common, for one objective; nothing for more."""
        history = study._storage  # noqa: SLF001  has no public name
        if not isinstance(history, History) or not self._is_multivariate(study):
            return super().infer_relative_search_space(study, trial)
        space = history.search_space()
        return {name: one for name, one in space.items() if not one.single()}

    def _sample(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        space = dict(search_space)
        if not isinstance(study._storage, History):  # noqa: SLF001  has no public name
            return super()._sample(study, trial, space)
        self._look_at(study, study._storage)  # noqa: SLF001
        below, above = self._densities_of(study, space)
        candidates = below.sample(self._rng.rng, self._n_ei_candidates)
        scores = self._compute_acquisition_func(candidates, below, above)
        best = self._compare(candidates, scores)
        return {name: space[name].to_external_repr(value) for name, value in best.items()}

    def _look_at(self, study: Study, history: History) -> None:
        """Divide the trials into good and bad ones, unless what is known of them is new enough."""
        n_seen, n_changes = len(self._split[0]) + len(self._split[1]), history.n_changes
        if self._made_at >= 0 and n_changes - self._made_at <= n_seen // self._trials_per_change:
            return
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        trials = study.get_trials(deepcopy=False, states=states)
        self._split = _split_trials(study, trials, history.n_good)
        self._densities.clear()
        self._made_at = n_changes

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, Array]:
        if not isinstance(study._storage, History):  # noqa: SLF001
            return super()._get_internal_repr(trials, search_space, study)
        table = study._storage.table(trials, list(search_space))  # noqa: SLF001
        return dict(zip(search_space, table.T, strict=True))

    def _densities_of(
        self, study: Study, space: dict[str, BaseDistribution]
    ) -> tuple[_ParzenEstimator, _ParzenEstimator]:
        names = tuple(space)
        if names not in self._densities:
            below, above = self._split
            self._densities[names] = (
                self._build_parzen_estimator(study, space, below, handle_below=True),
                self._build_parzen_estimator(study, space, above, handle_below=False),
            )
        return self._densities[names]
