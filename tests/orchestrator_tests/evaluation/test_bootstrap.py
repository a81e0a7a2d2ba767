import time

import numpy as np
import numpy.typing as npt
import pytest

from orchestrator.evaluation.bootstrap import (
    N_RESAMPLES,
    _interval,
    compare,
    drawn_differences,
    intervals,
    p_value_of,
)
from orchestrator.evaluation.resamples import left_out, measure_all
from orchestrator.evaluation.scores import Scores
from shared.metrics import AveragePrecision, average_precision


def _scores(n: int, n_labels: int, noise: float = 0.3, seed: int = 0) -> Scores:
    rng = np.random.default_rng(0)
    labels = (rng.uniform(size=(n, n_labels)) < 0.3).astype(np.float32)
    seen = labels + np.random.default_rng(seed).normal(0, noise, size=labels.shape)
    return Scores(np.arange(n), labels, seen.astype(np.float32))


def _again(scores: Scores, rows: npt.NDArray[np.int64]) -> AveragePrecision:
    labels, probabilities = scores.labels[rows], scores.probabilities[rows]
    names = [str(i) for i in range(labels.shape[1])]
    return average_precision(labels, probabilities, names)


@pytest.mark.parametrize("decimals", [1, 6])
def test_the_precision_of_a_resample_is_scikit_learns_ties_and_all(decimals: int) -> None:
    scores = _scores(60, 3)
    scores = Scores(scores.rows, scores.labels, scores.probabilities.round(decimals))
    draws = np.random.default_rng(1).integers(0, 60, size=(20, 60))
    counts = np.stack([np.bincount(draw, minlength=60) for draw in draws], axis=1)
    for figure in ("ap_weighted", "ap_macro"):
        expected = [getattr(_again(scores, draw), figure) for draw in draws]
        found = measure_all(scores, [counts.astype(np.int32)])
        np.testing.assert_allclose(getattr(found, figure), expected)


def test_an_interval_holds_the_value_and_narrows_with_the_rows() -> None:
    few, many = (
        compare({"ours": _scores(n, 2)}, "ap_weighted", 0).values["ours"] for n in (100, 2000)
    )
    for interval in (few, many):
        assert interval.low < interval.value < interval.high
    assert (many.high - many.low) < (few.high - few.low) / 2


ALIKE = np.zeros(2)
"""What the jackknife finds where no row matters."""


def test_an_interval_moves_down_where_resamples_lie_above_the_value() -> None:
    drawn = np.random.default_rng(0).normal(size=20_000)
    assert _interval(0.0, drawn, ALIKE, 1e6).low == pytest.approx(-1.96, abs=0.1)
    shifted = _interval(-0.5, drawn, ALIKE, 1e6)
    assert [shifted.low, shifted.high] == pytest.approx([-2.96, 0.96], abs=0.15)


def test_an_interval_is_wider_where_few_rows_have_the_label_or_the_jackknife_says_so() -> None:
    drawn = np.random.default_rng(0).normal(size=20_000)
    few, many = (_interval(0.0, drawn, ALIKE, n) for n in (5, 1000))
    assert few.high == pytest.approx(2.776 * np.sqrt(5 / 4), abs=0.2)
    assert many.high == pytest.approx(1.96, abs=0.1)
    without = np.array([-1.2, 1.2])
    assert _interval(0.0, drawn, without, 1000).high == pytest.approx(1.2 * 1.96, abs=0.1)


def test_each_row_is_left_out_once_by_itself_or_in_a_group() -> None:
    for n, n_groups in ((250, 250), (2600, 1000)):
        counts = np.concatenate(list(left_out(n)), axis=1)
        assert counts.shape == (n, n_groups)
        np.testing.assert_array_equal((1 - counts).sum(axis=1), 1)


def test_differences_are_paired() -> None:
    ours, same, worse = _scores(300, 2), _scores(300, 2), _scores(300, 2, noise=0.6, seed=1)
    found = compare({"ours": ours, "same": same, "worse": worse}, "ap_weighted", 0)
    assert found.differences["same"].low == found.differences["same"].high == 0
    assert found.differences["worse"].low > 0
    assert found.differences["worse"].value == pytest.approx(
        found.values["ours"].value - found.values["worse"].value
    )


def test_a_p_value_tells_a_difference_from_none() -> None:
    ours, same, worse = _scores(300, 2), _scores(300, 2), _scores(300, 2, noise=0.6, seed=1)
    found = compare({"ours": ours, "same": same, "worse": worse}, "ap_weighted", 0)
    assert found.p_values["same"] == 1
    assert found.p_values["worse"] == pytest.approx(2 / (N_RESAMPLES + 1))
    drawn = drawn_differences(ours, worse, 0)
    assert p_value_of(drawn) == p_value_of(-drawn) == found.p_values["worse"]


def test_the_same_seed_gives_the_same_interval() -> None:
    scores = {"ours": _scores(50, 2)}
    assert compare(scores, "ap_macro", 3) == compare(scores, "ap_macro", 3)
    assert compare(scores, "ap_macro", 3) != compare(scores, "ap_macro", 4)


def test_a_label_may_be_absent() -> None:
    scores = _scores(50, 2)
    scores.labels[:, 1] = 0
    assert compare({"ours": scores}, "ap_macro", 0).values["ours"].value > 0.5


def test_thousands_of_resamples_are_a_matter_of_seconds() -> None:
    scores = {str(i): _scores(1100, 5, seed=i) for i in range(3)}
    started = time.monotonic()
    assert compare(scores, "ap_weighted", 0).n_resamples == N_RESAMPLES >= 1000
    assert time.monotonic() - started < 5


def test_intervals_of_averages_and_labels_are_of_the_same_resamples() -> None:
    scores = _scores(200, 2)
    found = intervals(scores, ("a", "b"), 5)
    for figure in ("ap_weighted", "ap_macro"):
        compared = compare({"ours": scores}, figure, 5).values["ours"]
        assert found[figure] == pytest.approx([compared.low, compared.high])
    for low, high in (found["ap_macro"], *found["per_label"].values()):
        assert 0 < low < high <= 1


def test_the_accuracy_of_classes_has_the_interval_of_a_share() -> None:
    scores = _scores(400, 2)
    scores.labels[:, 1] = 1 - scores.labels[:, 0]
    scores.probabilities[:, 1] = 0.5
    share = ((scores.probabilities[:, 0] >= 0.5) == (scores.labels[:, 0] > 0)).mean()
    low, high = intervals(scores, ("a", "b"), 0, "multiclass")["accuracy"]
    assert low < share < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 400), rel=0.15)


def test_a_label_without_a_positive_row_has_no_interval() -> None:
    scores = _scores(50, 2)
    scores.labels[:, 1] = 0
    found = intervals(scores, ("a", "b"), 0)
    assert found["per_label"]["b"] is None
    assert found["ap_macro"] == found["per_label"]["a"]
