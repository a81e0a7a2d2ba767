"""Say how sure a result is: bootstrap intervals of average precision."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.scores import Scores
from shared.training.params import Task

N_RESAMPLES = 2000
"""Resamples of the test rows: enough for the ends of a 95 % interval, and a matter of seconds."""
BATCH_RESAMPLES = 100
"""Resamples at a time: bounds memory, and keeps what is summed in the processor's cache."""
LEVEL = 0.95
"""How often an interval is to hold the true value."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]
"""(n, B): how often each of n rows is in each of B resamples."""


@dataclass(frozen=True)
class Interval:
    """Hold a value measured on the rows as they are, and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Hold weighted average precision by name, and by how much the first one exceeds the others.

    `p_values` say how likely a difference as far from 0 is where there is none.
    """

    n_resamples: int
    level: float
    ap_weighted: dict[str, Interval]
    differences: dict[str, Interval]
    p_values: dict[str, float]


def compare(scores: Mapping[str, Scores], seed: int) -> Comparison:
    """Bootstrap the first of the scores against the others, all of the same rows.

    Percentile intervals; rows are drawn with replacement, the same ones for all scores, so that
    what makes a resample easy or hard cancels out of the differences. Efron & Tibshirani 1993, "An
    Introduction to the Bootstrap", chapter 13. A label without a positive row in a resample is left
    out of its average.
    """
    rng = np.random.default_rng(seed)
    n = len(next(iter(scores.values())).rows)
    as_they_are = np.ones((n, 1), dtype=np.int32)
    values = {name: float(_ap_weighted(one, as_they_are)[0]) for name, one in scores.items()}
    batches = [
        {name: _ap_weighted(one, counts) for name, one in scores.items()}
        for counts in _resamples(n, rng)
    ]
    drawn = {name: np.concatenate([batch[name] for batch in batches]) for name in scores}
    ours, *others = scores
    return Comparison(
        N_RESAMPLES,
        LEVEL,
        {name: _interval(values[name], drawn[name]) for name in scores},
        {
            name: _interval(values[ours] - values[name], drawn[ours] - drawn[name])
            for name in others
        },
        {name: p_value_of(drawn[ours] - drawn[name]) for name in others},
    )


def drawn_differences(ours: Scores, theirs: Scores, seed: int) -> Floats:
    """Return by how much weighted average precision differs in each resample, (N_RESAMPLES,)."""
    batches = [
        _ap_weighted(ours, counts) - _ap_weighted(theirs, counts)
        for counts in _resamples(len(ours.rows), np.random.default_rng(seed))
    ]
    return np.concatenate(batches)


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
    n = len(scores.rows)
    is_right = scores.labels.argmax(axis=1) == scores.probabilities.argmax(axis=1)
    batches = [
        (
            _precision_sums(scores, counts),
            counts.T @ scores.labels.astype(np.float64),
            counts.T @ is_right / n,
        )
        for counts in _resamples(n, np.random.default_rng(seed))
    ]
    sums, positives, accuracy = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    by_label = _ratio(sums, positives)
    macro = _ratio(np.nansum(by_label, axis=1), (positives > 0).sum(axis=1))
    of_classes = {"accuracy": _ends(accuracy)} if task == "multiclass" else {}
    return {
        **of_classes,
        "ap_weighted": _ends(_ratio(sums.sum(axis=1), positives.sum(axis=1))),
        "ap_macro": _ends(macro),
        "per_label": dict(zip(label_names, map(_ends, by_label.T), strict=True)),
    }


def _resamples(n: int, rng: np.random.Generator) -> Iterator[Counts]:
    for _ in range(N_RESAMPLES // BATCH_RESAMPLES):
        cells = rng.integers(0, n, size=(n, BATCH_RESAMPLES))
        cells *= BATCH_RESAMPLES
        cells += np.arange(BATCH_RESAMPLES)
        counts = np.bincount(cells.ravel(), minlength=n * BATCH_RESAMPLES)
        yield counts.reshape(n, BATCH_RESAMPLES).astype(np.int32)


def _ap_weighted(scores: Scores, counts: Counts) -> Floats:
    """Return the (B,) average precisions of the resamples, weighted by their positive rows."""
    n_positives = np.maximum(counts.T @ scores.labels.sum(axis=1), 1)
    return np.asarray(_precision_sums(scores, counts).sum(axis=1) / n_positives, dtype=np.float64)


def _precision_sums(scores: Scores, counts: Counts) -> Floats:
    """Return each label's average precision in each resample times its positive rows, (B, L)."""
    pairs = zip(scores.labels.T, scores.probabilities.T, strict=True)
    return np.stack(
        [_ap_times_positives(labels > 0, values, counts) for labels, values in pairs], axis=1
    )


def _ap_times_positives(
    is_positive: npt.NDArray[np.bool_], probabilities: npt.NDArray[np.float32], counts: Counts
) -> Floats:
    """Return the (B,) sums, over a label's positive rows, of the precision at their thresholds.

    Divided by the number of positive rows, that is average precision as scikit-learn defines it:
    rows of one probability share a threshold.
    """
    if not is_positive.any():
        return np.zeros(counts.shape[1])
    order = np.argsort(-probabilities, kind="stable")
    ranked, is_positive = probabilities[order], is_positive[order]
    n_retrieved = np.cumsum(counts[order], axis=0, dtype=np.int32)
    places = np.flatnonzero(is_positive)
    positives = counts[order[places]]
    last = np.searchsorted(-ranked, -ranked[places], side="right") - 1
    n_found = np.cumsum(positives, axis=0, dtype=np.int32)
    n_found = n_found[np.searchsorted(places, last, side="right") - 1]
    # A row that is not drawn may have no row above it; it counts nothing.
    precision = n_found / np.maximum(n_retrieved[last], 1)
    total: Floats = (positives * precision).sum(axis=0)
    return total


def _ratio(part: Floats, whole: npt.NDArray[np.floating | np.integer]) -> Floats:
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _interval(value: float, drawn: Floats) -> Interval:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def _ends(drawn: Floats) -> list[float] | None:
    measured = drawn[~np.isnan(drawn)]
    if not len(measured):
        return None
    interval = _interval(np.nan, measured)
    return [interval.low, interval.high]
