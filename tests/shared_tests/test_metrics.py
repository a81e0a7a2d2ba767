import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from shared.metrics import average_precision, class_quality, scores_of

LABELS = np.array([[1, 0], [0, 0], [1, 1], [0, 1], [1, 0]], dtype=np.float32)
SCORES = np.array([[0.9, 0.1], [0.8, 0.3], [0.7, 0.2], [0.1, 0.9], [0.2, 0.8]])


def test_each_average_is_scikit_learns() -> None:
    measured = average_precision(LABELS, SCORES, ["a", "b"])
    for average in ("weighted", "macro", "micro"):
        expected = average_precision_score(LABELS, SCORES, average=average)
        assert getattr(measured, f"ap_{average}") == pytest.approx(expected)
    assert measured.per_label["b"] == pytest.approx(
        average_precision_score(LABELS[:, 1], SCORES[:, 1])
    )


def test_a_label_without_a_positive_row_is_left_out() -> None:
    labels = LABELS.copy()
    labels[:, 1] = 0
    measured = average_precision(labels, SCORES, ["a", "b"])
    assert measured.per_label["b"] is None
    assert measured.ap_macro == measured.per_label["a"]
    assert measured.ap_weighted == pytest.approx(measured.ap_macro)


def test_classes_are_ranked_by_what_the_others_leave_them() -> None:
    logits = np.array([[2, 5], [1, 0]], dtype=np.float32)
    assert scores_of(logits, "multilabel")[:, 0].argmax() == 0
    assert scores_of(logits, "multiclass")[:, 0].argmax() == 1
    np.testing.assert_allclose(scores_of(logits, "multiclass").sum(axis=1), 1)


def test_the_most_probable_classes_are_measured_row_by_row_and_class_by_class() -> None:
    labels = np.eye(4, dtype=np.float32)[[0, 0, 0, 1]]
    probabilities = np.eye(4)[[0, 0, 1, 1]]
    f1_of_each = (2 * 2 / (3 + 2), 2 * 1 / (1 + 2))
    assert class_quality(labels, probabilities) == {
        "accuracy": 0.75,
        "f1_macro": pytest.approx(np.mean(f1_of_each)),
    }


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError, match="positive row"):
        average_precision(np.zeros_like(LABELS), SCORES, ["a", "b"])
