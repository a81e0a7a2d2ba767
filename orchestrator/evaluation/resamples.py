"""Measure figures on many resamples of rows at a time.

Shapes: n rows, L labels, B resamples.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestrator.evaluation.scores import Scores

BATCH_RESAMPLES = 100
"""Resamples at a time: bounds memory, and keeps what is summed in the processor's cache."""
MAX_GROUPS = 1000
"""Groups of rows that are left out one at a time; where rows are fewer, each by itself."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]
"""(n, B): how often each of n rows is in each of B resamples."""


class Measured(NamedTuple):
    """The figures of B resamples, (B,), and each label's average precision in them, (B, L)."""

    ap_weighted: Floats
    ap_macro: Floats
    accuracy: Floats
    by_label: Floats

    def minus(self, other: "Measured") -> "Measured":
        """Return the differences to what another has in the same resamples."""
        return Measured(*(a - b for a, b in zip(self, other, strict=True)))


def as_they_are(n: int) -> Counts:
    """Return the counts of the rows themselves, (n, 1)."""
    return np.ones((n, 1), dtype=np.int32)


def resamples(n: int, n_resamples: int, seed: int) -> Iterator[Counts]:
    """Yield the counts of rows drawn with replacement, BATCH_RESAMPLES resamples at a time."""
    rng = np.random.default_rng(seed)
    for _ in range(n_resamples // BATCH_RESAMPLES):
        cells = rng.integers(0, n, size=(n, BATCH_RESAMPLES))
        cells *= BATCH_RESAMPLES
        cells += np.arange(BATCH_RESAMPLES)
        counts = np.bincount(cells.ravel(), minlength=n * BATCH_RESAMPLES)
        yield counts.reshape(n, BATCH_RESAMPLES).astype(np.int32)


def left_out(n: int) -> Iterator[Counts]:
    """Yield the counts of all rows but those of one group, each group once."""
    groups = np.arange(n) % MAX_GROUPS
    n_groups = min(n, MAX_GROUPS)
    for start in range(0, n_groups, BATCH_RESAMPLES):
        left = np.arange(start, min(start + BATCH_RESAMPLES, n_groups))
        yield (groups[:, None] != left).astype(np.int32)


def measure_all(scores: Scores, batches: Iterable[Counts]) -> Measured:
    """Measure scores on all resamples of some batches."""
    found = [_measure(scores, counts) for counts in batches]
    return Measured(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _measure(scores: Scores, counts: Counts) -> Measured:
    sums, positives = _precision_sums(scores, counts), counts.T @ scores.labels.astype(np.float64)
    by_label = _ratio(sums, positives)
    is_right = scores.labels.argmax(axis=1) == scores.probabilities.argmax(axis=1)
    return Measured(
        ap_weighted=sums.sum(axis=1) / np.maximum(positives.sum(axis=1), 1),
        ap_macro=np.nansum(by_label, axis=1) / np.maximum((positives > 0).sum(axis=1), 1),
        accuracy=counts.T @ is_right / len(is_right),
        by_label=by_label,
    )


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
