"""Say how sure average precision is, from the rows that it was measured on."""

from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.scores import Scores

N_RESAMPLES = 500
LEVEL = 0.95
"""The share of resamples that an interval covers."""
MAX_CELLS = 1 << 22
"""Numbers of a resample's kind in memory at a time."""

Floats = npt.NDArray[np.float64]


def intervals(scores: Scores, label_names: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Return percentile bootstrap intervals, [low, high], of each average's and label's AP.

    Rows are drawn anew with replacement; what no resample measures has None. (Efron & Tibshirani
    1993, An Introduction to the Bootstrap, chapter 13.)
    """
    n, n_labels = scores.labels.shape
    rng = np.random.default_rng(seed)
    columns = [_Ranked(scores.labels[:, i], scores.probabilities[:, i]) for i in range(n_labels)]
    pooled = _Ranked(scores.labels.ravel(), scores.probabilities.ravel())
    n_at_a_time = max(1, MAX_CELLS // (n * n_labels))
    parts = []
    for start in range(0, N_RESAMPLES, n_at_a_time):
        n_drawn = min(n_at_a_time, N_RESAMPLES - start)
        counts = rng.multinomial(n, np.full(n, 1 / n), size=n_drawn).astype(np.float64)
        by_label = np.column_stack([column.average_precision(counts) for column in columns])
        support = counts @ scores.labels
        averages = [
            _ratio(np.nansum(by_label * support, axis=1), support.sum(axis=1)),
            _ratio(np.nansum(by_label, axis=1), (support > 0).sum(axis=1)),
            pooled.average_precision(np.repeat(counts, n_labels, axis=1)),
        ]
        parts.append(np.column_stack([*averages, by_label]))
    weighted, macro, micro, *of_labels = map(_interval, np.concatenate(parts).T)
    return {
        "ap_weighted": weighted,
        "ap_macro": macro,
        "ap_micro": micro,
        "per_label": dict(zip(label_names, of_labels, strict=True)),
    }


class _Ranked:
    """Hold n rows in the order of their scores, ready to be counted again and again."""

    def __init__(self, labels: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._labels = labels[self._order].astype(np.float64)
        ranked = scores[self._order]
        is_last = np.append(ranked[1:] != ranked[:-1], [True])
        self._last_of_ties = np.flatnonzero(is_last)[np.cumsum(is_last) - is_last]

    def average_precision(self, counts: Floats) -> Floats:
        """Return the AP of each of B resamples, (B, n) counts of rows; NaN without positives."""
        seen = counts[:, self._order]
        hits = seen * self._labels
        precision = hits.cumsum(axis=1) / np.maximum(seen.cumsum(axis=1), 1)
        return _ratio((hits * precision[:, self._last_of_ties]).sum(axis=1), hits.sum(axis=1))


def _ratio(part: Floats, whole: npt.NDArray[np.floating | np.integer]) -> Floats:
    ratio = np.full(len(part), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _interval(values: Floats) -> list[float] | None:
    measured = values[~np.isnan(values)]
    if not len(measured):
        return None
    ends = np.quantile(measured, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(end) for end in ends]
