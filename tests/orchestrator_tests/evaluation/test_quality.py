import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, f1_score, log_loss

from orchestrator.evaluation.quality import calibration_error, f1, trueness

RNG = np.random.default_rng(0)
TRUE = RNG.uniform(size=(30_000, 2))
LABELS = (RNG.uniform(size=TRUE.shape) < TRUE).astype(np.float32)


def test_true_probabilities_have_no_calibration_error_but_chance() -> None:
    assert calibration_error(LABELS[:, 0], TRUE[:, 0]) < 0.01


def test_a_constant_error_is_found_in_full() -> None:
    labels, probabilities = np.tile([0, 1], 150), np.full(300, 0.7)
    assert calibration_error(labels, probabilities) == pytest.approx(0.2)


def test_rows_fewer_than_bins_are_a_bin_each() -> None:
    assert calibration_error(np.array([1, 0]), np.array([0.9, 0.3])) == pytest.approx(0.2)


def test_brier_score_and_log_loss_are_scikit_learns() -> None:
    found, labels = trueness(LABELS, TRUE, "multilabel"), range(2)
    briers = [brier_score_loss(LABELS[:, i], TRUE[:, i]) for i in labels]
    assert found["brier"] == pytest.approx(np.mean(briers))
    losses = [log_loss(LABELS[:, i], TRUE[:, i]) for i in labels]
    assert found["log_loss"] == pytest.approx(np.mean(losses))


def test_f1_is_scikit_learns() -> None:
    decisions = TRUE > 0.7
    for average in ("macro", "micro"):
        expected = f1_score(LABELS, decisions, average=average)
        assert f1(LABELS, decisions)[f"f1_{average}"] == pytest.approx(expected)


def test_a_label_that_no_row_has_or_gets_is_left_out() -> None:
    labels, decisions = np.array([[1, 0], [0, 0]]), np.array([[True, False], [True, False]])
    assert f1(labels, decisions) == pytest.approx({"f1_macro": 2 / 3, "f1_micro": 2 / 3})


def test_classes_are_measured_by_their_most_probable_one() -> None:
    labels = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
    probabilities = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1]])
    found = trueness(labels, probabilities, "multiclass")
    assert found["ece"] == pytest.approx((0.4 + 0.5) / 2)
    assert found["brier"] == pytest.approx((0.16 + 0.09 + 0.01 + 0.25 + 0.36 + 0.01) / 2)
    assert found["log_loss"] == pytest.approx(-np.log([0.6, 0.4]).mean())
