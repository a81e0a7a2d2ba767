"""Say how sure a result is: bootstrap intervals of average precision and accuracy."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtrit

from orchestrator.evaluation.headline import Comparison, Figure, Interval
from orchestrator.evaluation.resamples import (
    Measured,
    as_they_are,
    left_out,
    measure_all,
    resamples,
)
from orchestrator.evaluation.scores import Scores
from shared.training.params import Task

N_RESAMPLES = 2000
"""Resamples of the test rows: enough for the ends of a 95 % interval, and a matter of seconds."""
LEVEL = 0.95
"""How often an interval is to hold the true value."""

Floats = npt.NDArray[np.float64]


class _Sampled(NamedTuple):
    """Figures of the rows as they are, of resamples, and of all rows but some, group by group."""

    found: Measured
    drawn: Measured
    left_out: Measured

    def minus(self, other: "_Sampled") -> "_Sampled":
        """Return the differences to what another has of the same rows."""
        return _Sampled(*(a.minus(b) for a, b in zip(self, other, strict=True)))


def compare(scores: Mapping[str, Scores], figure: Figure, seed: int) -> Comparison:
    """Bootstrap the first of the scores against the others, all of the same rows.

    Rows are drawn with replacement, the same ones for all scores, so that what makes a resample
    easy or hard cancels out of the differences. Efron & Tibshirani 1993, "An Introduction to the
    Bootstrap", chapter 13. A label without a positive row in a resample is left out of its average.
    """
    labels = next(iter(scores.values())).labels
    sampled = {name: _sample(one, seed) for name, one in scores.items()}
    ours, *others = scores
    differences = {name: sampled[ours].minus(sampled[name]) for name in others}
    return Comparison(
        figure,
        N_RESAMPLES,
        LEVEL,
        {name: _interval_of(figure, one, labels) for name, one in sampled.items()},
        {name: _interval_of(figure, one, labels) for name, one in differences.items()},
        {name: p_value_of(getattr(one.drawn, figure)) for name, one in differences.items()},
    )


def measure(scores: Scores, figure: Figure) -> float:
    """Return the figure on the rows as they are."""
    return float(getattr(measure_all(scores, [as_they_are(len(scores.rows))]), figure)[0])


def drawn_differences(ours: Scores, theirs: Scores, seed: int) -> Floats:
    """Return by how much weighted average precision differs in each resample, (N_RESAMPLES,)."""
    one, other = (
        measure_all(scores, resamples(len(scores.rows), N_RESAMPLES, seed)).ap_weighted
        for scores in (ours, theirs)
    )
    return one - other


def p_value_of(differences: Floats) -> float:
    """Return how likely differences as far from 0 are where there is none.

    Twice the share of resamples whose difference has not the sign of most, with one more on either
    side, so that it is never 0: Davison & Hinkley 1997, "Bootstrap Methods and their Application",
    section 4.4.
    """
    n_below, n_above = (differences <= 0).sum(), (differences >= 0).sum()
    return float(min(1.0, 2 * (1 + min(n_below, n_above)) / (1 + len(differences))))


def intervals(
    scores: Scores, label_names: tuple[str, ...], seed: int, task: Task = "multilabel"
) -> dict[str, Any]:
    """Return intervals, [low, high], of the weighted and the macro average and of each label's AP.

    Of classes also of accuracy. From the same resamples as those of `compare` with this seed. What
    none of them measures has None.
    """
    of_classes: tuple[Figure, ...] = ("accuracy",) if task == "multiclass" else ()
    figures: tuple[Figure, ...] = (*of_classes, "ap_weighted", "ap_macro")
    sampled = _sample(scores, seed)
    of_figures = {one: _interval_of(one, sampled, scores.labels) for one in figures}
    positives = scores.labels.sum(axis=0)
    return {
        **{one: [interval.low, interval.high] for one, interval in of_figures.items()},
        "per_label": {
            name: _ends([one.by_label[:, i] for one in sampled], float(positives[i]))
            for i, name in enumerate(label_names)
        },
    }


def _sample(scores: Scores, seed: int) -> _Sampled:
    n = len(scores.rows)
    kinds = ([as_they_are(n)], resamples(n, N_RESAMPLES, seed), left_out(n))
    return _Sampled(*(measure_all(scores, batches) for batches in kinds))


def _interval_of(figure: Figure, sampled: _Sampled, labels: npt.NDArray[np.float32]) -> Interval:
    found, drawn, without = (getattr(one, figure) for one in sampled)
    n = len(labels) if figure == "accuracy" else _effective_positives(figure, sampled.drawn, labels)
    return _interval(float(found[0]), drawn, without, n)


def _effective_positives(figure: Figure, drawn: Measured, labels: npt.NDArray[np.float32]) -> float:
    """Return of how many rows the mean would be as sure as an average over labels.

    Each label's precision is a mean over its positive rows. Satterthwaite 1946, "An approximate
    distribution of estimates of variance components".
    """
    positives = labels.sum(axis=0)
    known = positives > 0
    weights = positives if figure == "ap_weighted" else np.ones_like(positives)
    variances = np.square(weights[known]) * np.nanvar(drawn.by_label[:, known], axis=0)
    squares = np.square(variances) / np.maximum(positives[known] - 1, 1)
    return 1 + float(np.square(variances.sum()) / squares.sum()) if squares.any() else len(labels)


def _interval(value: float, drawn: Floats, without: Floats, n: float) -> Interval:
    """Return the bias-corrected percentile interval, expanded for what is like a mean of n values.

    Resamples repeat positive rows, which lifts average precision: plain percentiles miss the truth
    on one side, the more so the rarer a label. Efron & Tibshirani 1993, section 14.3, without the
    acceleration. Resamples equal to the value count by half.

    Resamples of few values are too much alike. The interval reaches as many of their standard
    deviations as t asks for, of the n - 1 in n that they have: Hesterberg 2015, "What Teachers
    Should Know About the Bootstrap", section 5.3; and of the standard error by jackknife where that
    is larger, which is never too small in the mean: Efron & Stein 1981, "The jackknife estimate of
    variance". `without` are the values without one group of rows each.
    """
    n_below = np.count_nonzero(drawn < value) + np.count_nonzero(drawn == value) / 2
    bias = ndtri(np.clip(n_below, 0.5, len(drawn) - 0.5) / len(drawn))
    spread, standard_error = drawn.std(), np.sqrt(len(without) - 1) * without.std()
    expansion = max(np.sqrt(n / (n - 1)), standard_error / spread if spread else 1)
    reach = expansion * stdtrit(n - 1, (1 + LEVEL) / 2)
    low, high = np.quantile(drawn, ndtr([2 * bias - reach, 2 * bias + reach]))
    return Interval(value, float(low), float(high))


def _ends(values: list[Floats], n_positives: float) -> list[float] | None:
    """Return the interval of a label's average precision, None where no row has it."""
    if not n_positives:
        return None
    found, drawn, without = (one[~np.isnan(one)] for one in values)
    interval = _interval(float(found[0]), drawn, without, max(n_positives, 2))
    return [interval.low, interval.high]
