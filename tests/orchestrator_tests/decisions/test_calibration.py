import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from orchestrator.decisions.calibration import (
    FITS,
    Curve,
    Fit,
    choose,
    cross_fit,
    fit_isotonic,
    fit_temperature,
    log_loss,
)

N_ROWS = 4000
Rows = tuple[np.ndarray, np.ndarray]


def _rows(seed: int = 0, *, temperature: float = 1.0, bend: float = 1.0) -> Rows:
    """Return labels, and probabilities that are true but for a temperature and a bend."""
    rng = np.random.default_rng(seed)
    true = rng.beta(0.7, 2, N_ROWS)
    labels = (rng.uniform(size=N_ROWS) < true).astype(np.float32)
    return labels, (expit(logit(true) * temperature) ** bend).astype(np.float32)


def test_a_curve_changes_nothing_unless_it_is_told_to() -> None:
    probabilities = np.array([0, 1e-20, 0.3, 1], dtype=np.float32)
    np.testing.assert_array_equal(Curve()(probabilities), probabilities)


def test_the_temperature_that_was_put_in_is_found() -> None:
    labels, probabilities = _rows(temperature=2.5)
    assert fit_temperature(labels, probabilities).temperature == pytest.approx(2.5, rel=0.1)


def test_a_temperature_is_bounded_where_the_scores_tell_all() -> None:
    labels = np.repeat([0, 1], 20)
    curve = fit_temperature(labels, np.where(labels > 0, 0.9, 0.1))
    assert 0.05 <= curve.temperature < 0.1
    assert np.isfinite(curve(np.array([0.0, 0.5, 1.0]))).all()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(0, 1, width=32)),
        min_size=2,
        max_size=60,
        unique_by=lambda row: row[1],
    )
)
def test_isotonic_regression_keeps_the_ranking_and_gives_no_certainty(
    rows: list[tuple[bool, float]],
) -> None:
    labels, probabilities = (np.array(column) for column in zip(*rows, strict=True))
    curve = fit_isotonic(labels, probabilities)
    before, after = np.transpose(curve.knots)
    assert (np.diff(before) > 0).all()
    assert (np.diff(after) > 0).all()
    inside = np.array([0.001, 0.2, 0.5, 0.999])
    assert ((curve(inside) > 0) & (curve(inside) < 1)).all()
    assert (np.diff(curve(inside)) > 0).all()


def _folds(n: int) -> list[np.ndarray]:
    return [np.arange(i, n, 5) for i in range(5)]


@pytest.mark.parametrize(
    ("rows", "method"),
    [
        (_rows(), "none"),
        (_rows(temperature=2.0), "temperature"),
        (_rows(bend=3.0), "isotonic"),
    ],
)
def test_the_simplest_method_that_does_is_chosen(rows: Rows, method: str) -> None:
    fitted = {name: cross_fit(fit, *rows, _folds(len(rows[0]))) for name, fit in FITS.items()}
    assert choose({name: log_loss(rows[0], said) for name, said in fitted.items()}) == method


@pytest.mark.parametrize("fit", [fit_temperature, fit_isotonic])
def test_what_is_fitted_holds_on_rows_that_it_has_not_seen(fit: Fit) -> None:
    curve = fit(*_rows(temperature=2.0))
    labels, probabilities = _rows(seed=1, temperature=2.0)
    assert log_loss(labels, curve(probabilities)).mean() < log_loss(labels, probabilities).mean()


def test_a_row_is_calibrated_by_what_was_fitted_to_others() -> None:
    labels = np.tile([0.0, 1.0], 50)
    memory: list[set[int]] = []

    def remember(_: np.ndarray, rows: np.ndarray) -> Curve:
        memory.append(set(rows.tolist()))
        return Curve()

    cross_fit(remember, labels, np.arange(100.0) / 100, _folds(100))
    held_out = [set((np.arange(100) / 100).tolist()) - kept for kept in memory]
    assert [len(rows) for rows in held_out] == [20] * 5
    assert len(set.union(*held_out)) == 100
