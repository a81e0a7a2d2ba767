from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.decisions.thresholds import (
    MIN_ROWS,
    Cuts,
    best_f1,
    cuts_of,
    least_cost,
    most_precise,
    most_precision,
    most_recall,
)

LABELS = np.array([1, 0, 1, 1, 0, 0], dtype=np.float32)
SCORES = np.array([0.9, 0.8, 0.7, 0.4, 0.4, 0.2], dtype=np.float32)
ROWS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])), min_size=1
)


def _repeated(times: int) -> Cuts:
    """Return the cuts of so many copies of each row, in the same places."""
    return cuts_of(np.tile(LABELS, times), np.tile(SCORES, times))


def test_a_threshold_lies_halfway_between_neighbouring_scores() -> None:
    cuts = cuts_of(LABELS, SCORES)
    np.testing.assert_allclose(cuts.thresholds, [0.95, 0.85, 0.75, 0.55, 0.3, 0.1], atol=1e-7)
    assert cuts.given.tolist() == [0, 1, 2, 3, 5, 6]
    assert cuts.hits.tolist() == [0, 1, 1, 2, 3, 3]


@given(ROWS)
def test_a_cut_gives_the_label_to_the_rows_that_it_counts(rows: list[tuple[bool, float]]) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    cuts = cuts_of(labels, scores.astype(np.float32))
    for threshold, given_rows, hits in zip(cuts.thresholds, cuts.given, cuts.hits, strict=True):
        decided = scores.astype(np.float32) >= threshold
        assert (decided.sum(), (decided & labels).sum()) == (given_rows, hits)


@settings(max_examples=50)
@given(ROWS)
def test_no_other_threshold_has_a_higher_f1_or_a_lower_cost(rows: list[tuple[bool, float]]) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    cuts = cuts_of(labels, scores)

    def f1(threshold: float) -> float:
        decided = scores >= threshold
        return 2 * (labels & decided).sum() / max(labels.sum() + decided.sum(), 1)

    def cost(threshold: float) -> float:
        decided = scores >= threshold
        return 3 * (decided & ~labels).sum() + (labels & ~decided).sum()

    everywhere = np.linspace(0, 1.01, 40)
    assert f1(best_f1(cuts)) == max(f1(threshold) for threshold in everywhere)
    assert cost(least_cost(cuts, 3, 1)) == min(cost(threshold) for threshold in everywhere)


@pytest.mark.parametrize(("floor", "threshold"), [(0.6, 0.3), (0.65, 0.55), (0.9, 0.85)])
def test_the_most_recall_is_taken_that_the_precision_allows(floor: float, threshold: float) -> None:
    assert most_recall(_repeated(MIN_ROWS), floor) == pytest.approx(threshold)


def test_the_precision_of_a_handful_of_rows_is_not_believed() -> None:
    few, enough = _repeated(MIN_ROWS - 1), _repeated(MIN_ROWS)
    assert most_recall(few, 0.9) is None
    assert most_precise(few) == pytest.approx(0.55), "20 of 30 rows are hits, and 10 of 20 above"
    assert most_recall(enough, 0.9) == most_precise(enough) == pytest.approx(0.85)


@pytest.mark.parametrize(("floor", "threshold"), [(0.3, 0.85), (0.6, 0.55), (1.0, 0.3)])
def test_the_most_precision_is_taken_that_the_recall_allows(floor: float, threshold: float) -> None:
    assert most_precision(cuts_of(LABELS, SCORES), floor) == pytest.approx(threshold)


@pytest.mark.parametrize(
    ("costs", "threshold"), [((1, 1), 0.85), ((1, 9), 0.3), ((9, 1), 0.85), ((9, 0.1), 0.85)]
)
def test_dear_misses_lower_the_threshold(costs: tuple[float, float], threshold: float) -> None:
    assert least_cost(cuts_of(LABELS, SCORES), *costs) == pytest.approx(threshold)


@pytest.mark.parametrize("choose", [best_f1, most_precise, lambda cuts: most_precision(cuts, 0.5)])
def test_scores_that_are_all_equal_have_a_threshold_too(choose: Callable[[Cuts], float]) -> None:
    assert choose(cuts_of(LABELS, np.full(6, 0.3))) == pytest.approx(0.15)
