import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from orchestrator import intervals as module
from orchestrator.intervals import intervals
from orchestrator.scores import Scores

NAMES = ("a", "b")


def _scores(n: int, signal: float) -> Scores:
    """Return scores with ties, the less informative the smaller the signal."""
    rng = np.random.default_rng(0)
    labels = (rng.random((n, 2)) < 0.3).astype(np.float32)
    noisy = signal * labels + rng.normal(size=(n, 2))
    return Scores(np.arange(n), labels, np.round(noisy, 1).astype(np.float32))


def test_a_resample_is_measured_as_scikit_learn_would() -> None:
    scores = _scores(200, 1.0)
    counts = np.random.default_rng(1).multinomial(200, np.full(200, 1 / 200), size=5)
    labels, values = scores.labels[:, 0], scores.probabilities[:, 0]
    found = module._Ranked(labels, values).average_precision(counts.astype(np.float64))
    expected = [average_precision_score(labels, values, sample_weight=row) for row in counts]
    np.testing.assert_allclose(found, expected)


def test_intervals_hold_the_figure_and_shrink_with_more_rows() -> None:
    few, many = _scores(100, 2.0), _scores(2000, 2.0)
    widths = []
    for scores in (few, many):
        low, high = intervals(scores, NAMES, 0)["ap_micro"]
        measured = average_precision_score(scores.labels.ravel(), scores.probabilities.ravel())
        assert low < measured < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def test_memory_does_not_decide_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = intervals(_scores(100, 1.0), NAMES, 0)
    monkeypatch.setattr(module, "MAX_CELLS", 100 * 2 * 7)
    assert intervals(_scores(100, 1.0), NAMES, 0) == whole


def test_a_label_without_a_positive_row_has_no_interval() -> None:
    scores = _scores(50, 1.0)
    scores.labels[:, 1] = 0
    found = intervals(scores, NAMES, 0)
    assert found["per_label"]["b"] is None
    assert found["ap_macro"] == found["per_label"]["a"]
