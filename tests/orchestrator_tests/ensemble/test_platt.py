import numpy as np
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from orchestrator.ensemble.platt import fit_platt

RNG = np.random.default_rng(0)
N = 300


def test_values_that_go_with_a_label_get_logistic_regressions_numbers() -> None:
    labels = (RNG.random((N, 1)) < 0.3).astype(np.float32)
    values = labels + RNG.normal(size=(N, 1)).astype(np.float32)
    slopes, offsets = fit_platt(values, labels, "multilabel")
    theirs = LogisticRegression(C=1e6).fit(values, labels[:, 0])
    np.testing.assert_allclose(
        [slopes[0], offsets[0]], [theirs.coef_[0, 0], theirs.intercept_[0]], rtol=1e-4
    )


def test_values_that_go_against_a_label_tell_its_share_and_no_more() -> None:
    labels = (np.arange(N)[:, None] < 30).astype(np.float32)
    slopes, offsets = fit_platt(-labels, labels, "multilabel")
    assert slopes[0] == 0
    assert abs(1 / (1 + np.exp(-offsets[0])) - 0.1) < 0.01


def test_a_label_that_no_row_has_gets_little() -> None:
    none = np.zeros((N, 1), dtype=np.float32)
    slopes, offsets = fit_platt(RNG.normal(size=(N, 1)).astype(np.float32), none, "multilabel")
    assert slopes[0] == 0
    assert -8 < offsets[0] < -4


def test_classes_share_a_slope_and_have_their_own_shares() -> None:
    classes = RNG.choice(4, N, p=[0.6, 0.3, 0.1, 0])
    labels = np.eye(4, dtype=np.float32)[classes]
    values = (labels + RNG.normal(size=(N, 4))).astype(np.float32)
    slopes, offsets = fit_platt(values, labels, "multiclass")
    assert slopes[0] > 0.5
    assert (slopes == slopes[0]).all()
    shares = softmax(values * slopes + offsets, axis=1).mean(axis=0)
    np.testing.assert_allclose(shares, labels.mean(axis=0), atol=2e-3)


def test_values_that_go_against_the_classes_tell_their_shares() -> None:
    labels = np.eye(3, dtype=np.float32)[RNG.choice(3, N, p=[0.6, 0.3, 0.1])]
    slopes, offsets = fit_platt(-labels, labels, "multiclass")
    np.testing.assert_array_equal(slopes, 0)
    np.testing.assert_allclose(softmax(offsets), labels.mean(axis=0), atol=2e-3)
