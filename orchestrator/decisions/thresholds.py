"""Choose the threshold of one label by what all cuts of its out-of-fold scores would give."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MIN_ROWS = 10
"""Rows that a cut must give the label to, for its precision to be believed."""


@dataclass(frozen=True)
class Cuts:
    """Hold the c ways to cut n scored rows of one label in two, the fewest rows given first.

    `thresholds` is (c,) float64, descending, each halfway between two neighbouring scores; the
    first gives the label to no row, the last to all. `given` is (c,) int64, the rows at or above
    the threshold, `hits` is (c,) int64, those of them that have the label.
    """

    thresholds: npt.NDArray[np.float64]
    given: npt.NDArray[np.int64]
    hits: npt.NDArray[np.int64]

    @property
    def positives(self) -> int:
        """Rows that have the label."""
        return int(self.hits[-1])

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """The share of the given rows that have the label; 0 where none is given."""
        return self.hits / np.maximum(self.given, 1)


def cuts_of(labels: npt.NDArray[Any], scores: npt.NDArray[np.floating]) -> Cuts:
    """Find all cuts of (n,) scores in [0, 1] of rows with (n,) 0/1 labels, in O(n log n)."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    above_all = max(1.0, np.nextafter(np.float32(ranked[0]), np.float32(2)))
    edges = np.concatenate([[above_all], ranked[last], [0.0]])
    return Cuts(
        thresholds=(edges[:-1] + edges[1:]) / 2,
        given=np.append(0, last + 1),
        hits=np.append(0, np.cumsum(labels[order] > 0)[last]),
    )


def best_f1(cuts: Cuts) -> float:
    """Return the threshold of the highest F1."""
    f1 = 2 * cuts.hits / np.maximum(cuts.given + cuts.positives, 1)
    return _best(cuts, f1)


def most_recall(cuts: Cuts, floor: float) -> float | None:
    """Return the threshold of the most recall at a precision of at least `floor`.

    None when no cut that gives MIN_ROWS rows or more reaches the floor.
    """
    counts = (cuts.precision >= floor) & (cuts.given >= MIN_ROWS)
    return _best(cuts, np.where(counts, cuts.hits, -1)) if counts.any() else None


def most_precise(cuts: Cuts) -> float:
    """Return the threshold of the highest precision of those that give MIN_ROWS rows or more."""
    counts = cuts.given >= min(MIN_ROWS, cuts.given[-1])
    return _best(cuts, np.where(counts, cuts.precision, -1), cuts.hits)


def most_precision(cuts: Cuts, floor: float) -> float:
    """Return the threshold of the most precision at a recall of at least `floor`, in (0, 1].

    Some cut always reaches it: the last one has every positive row.
    """
    return _best(cuts, np.where(cuts.hits >= floor * cuts.positives, cuts.precision, -1), cuts.hits)


def least_cost(cuts: Cuts, false_positive_cost: float, false_negative_cost: float) -> float:
    """Return the threshold of the least total cost of wrong decisions."""
    false_positives, false_negatives = cuts.given - cuts.hits, cuts.positives - cuts.hits
    cost = false_positive_cost * false_positives + false_negative_cost * false_negatives
    return _best(cuts, -cost)


def _best(cuts: Cuts, value: npt.NDArray[Any], tie_break: npt.NDArray[Any] | None = None) -> float:
    """Return the threshold of the largest value, of equal ones that of the largest tie-break.

    Where that is equal too, it is the one that gives the label to the fewest rows.
    """
    best = np.flatnonzero(value == value.max())
    if tie_break is not None:
        best = best[tie_break[best] == tie_break[best].max()]
    return float(cuts.thresholds[best[0]])
