import numpy as np
import pytest

from orchestrator.decisions.class_calibration import (
    calibrate_classes,
    fit_temperature,
    log_loss,
    temper,
)

RNG = np.random.default_rng(0)
TRUE = RNG.dirichlet((0.7, 1, 2), 3000)
LABELS = np.array([RNG.multinomial(1, row) for row in TRUE], dtype=np.float32)


FOLDS = [np.arange(i, 3000, 5) for i in range(5)]


def test_the_temperature_that_was_put_in_is_found() -> None:
    assert fit_temperature(LABELS, temper(TRUE, 0.5)) == pytest.approx(2, rel=0.1)
    assert fit_temperature(LABELS, temper(TRUE, 2)) == pytest.approx(0.5, rel=0.1)


def test_true_probabilities_are_left_alone() -> None:
    found = calibrate_classes(LABELS, TRUE, "auto", FOLDS)
    assert found.temperature == 1
    np.testing.assert_array_equal(found.cross_fitted, TRUE)


def test_a_temperature_holds_on_rows_that_it_was_not_fitted_to() -> None:
    sure = temper(TRUE, 0.5)
    found = calibrate_classes(LABELS, sure, "auto", FOLDS)
    assert log_loss(LABELS, found.cross_fitted).mean() < log_loss(LABELS, sure).mean()
    assert np.abs(found.cross_fitted - TRUE).max() < 0.05


def test_certainty_is_no_error() -> None:
    certain = np.eye(3)
    assert np.isfinite(temper(certain, 2)).all()
    assert log_loss(certain, certain).tolist() == [0, 0, 0]
    assert np.isfinite(log_loss(certain, np.roll(certain, 1, axis=0))).all()
