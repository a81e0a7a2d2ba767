"""Foresee how long a search will take, and measure how busy its workers are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np
from scipy.special import stdtrit

MAX_GAPS = 200
"""How many of the latest gaps between finished trials count."""
MIN_GAPS = 4
"""Fewer gaps than this say nothing of how they spread."""
N_BATCHES = 10
CONFIDENCE = 0.9

Span = tuple[float, float]
"""When something began and ended, in seconds."""


@dataclass(frozen=True)
class Forecast:
    """Say how fast trials finish, and the seconds left: expected, and the ends of a range."""

    trials_per_min: float
    seconds_left: float
    at_least_s: float
    at_most_s: float


def forecast(finished: Sequence[Span], n_left: int) -> Forecast | None:
    """Foresee when `n_left` more trials will have finished, from those that finished lately.

    The gaps between the ends of the latest `MAX_GAPS` trials go into `N_BATCHES` batches, since
    gaps that follow each other are not independent while batches nearly are (the method of batch
    means: Law, "Simulation Modeling and Analysis", 5th edition, section 9.5.3). The range is the
    prediction interval, at `CONFIDENCE`, for the sum of `n_left` further gaps: Student's t, with
    the variance of that sum and that of the mean gap, which is an estimate too. Time in which none
    of the trials was under way does not count: nobody searched then. None with too few trials.
    """
    ends = _worked_s(sorted(finished, key=lambda span: span[1])[-MAX_GAPS - 1 :])
    n_gaps = len(ends) - 1
    if n_gaps < MIN_GAPS or ends[-1] == ends[0]:
        return None
    size = max(1, n_gaps // N_BATCHES)
    batches = -np.diff(ends[::-1][::size])
    n_used = size * len(batches)
    gap_s = float(batches.sum()) / n_used
    if gap_s == 0:
        return None
    deviation_s = float(batches.std(ddof=1)) / sqrt(size)
    t = float(stdtrit(len(batches) - 1, (1 + CONFIDENCE) / 2))
    margin_s = t * deviation_s * sqrt(n_left * (1 + n_left / n_used))
    left_s = n_left * gap_s
    return Forecast(60 / gap_s, left_s, max(0.0, left_s - margin_s), left_s + margin_s)


def union(spans: Iterable[Span]) -> list[Span]:
    """Return the time that at least one of the spans covers, as spans that do not overlap."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def busy_share(spans: Iterable[Span], since: float, until: float) -> float:
    """Return the share of the time from `since` to `until` that at least one span covers."""
    clipped = [(max(start, since), min(end, until)) for start, end in spans]
    covered = union((start, end) for start, end in clipped if end > start)
    return sum(end - start for start, end in covered) / (until - since) if until > since else 0.0


def _worked_s(finished: Sequence[Span]) -> list[float]:
    """Return the trials' ends by a clock that stands still while none of them is under way."""
    breaks = union(finished)
    idle_s = np.cumsum([0.0, *(b[0] - a[1] for a, b in pairwise(breaks))])
    starts = [start for start, _ in breaks]
    places = np.searchsorted(starts, [end for _, end in finished], side="right") - 1
    return [end - float(idle_s[i]) for (_, end), i in zip(finished, places, strict=True)]
