from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import average_precision_score

from orchestrator.decisions.calibration import Curve
from orchestrator.decisions.class_calibration import temper
from orchestrator.decisions.layers import calibrated
from shared.training.params import Task

LABELS: Task = "multilabel"
WARM = Curve("temperature", temperature=2.0)
LINES = Curve("isotonic", knots=((0, 0), (0.2, 0.01), (0.5, 0.011), (0.51, 0.9), (1, 1)))
SHORT = Curve("isotonic", knots=((0, 0), (0.4, 0.6), (1, 1)))
EVERYWHERE = np.concatenate([[1e-20, 1e-6], np.linspace(0.001, 1, 997), [1]])


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Return a model that gives its inputs back."""
    inputs = keras.Input((3,), dtype="float32")
    return keras.Model(inputs, keras.layers.Activation("linear")(inputs))


def _said(model: keras.Model) -> np.ndarray:
    everywhere = np.repeat(EVERYWHERE[:, None], 3, axis=1).astype(np.float32)
    return np.asarray(ops.convert_to_numpy(model(everywhere)))


@pytest.mark.parametrize(
    "curves",
    [(WARM, Curve(), WARM), (LINES, SHORT, Curve()), (WARM, LINES, Curve())],
    ids=["temperature", "isotonic", "both"],
)
def test_the_layers_do_what_the_curves_do(model: keras.Model, curves: Sequence[Curve]) -> None:
    said = _said(calibrated(model, curves, LABELS))
    for label, curve in enumerate(curves):
        np.testing.assert_allclose(said[:, label], curve(EVERYWHERE), atol=1e-5)
        assert (np.diff(said[:, label]) >= 0).all()


def test_the_ranking_stays(model: keras.Model) -> None:
    labels = np.random.default_rng(0).uniform(size=len(EVERYWHERE)) < EVERYWHERE
    before = average_precision_score(labels, EVERYWHERE)
    for scores in _said(calibrated(model, (WARM, LINES, SHORT), LABELS)).T:
        assert average_precision_score(labels, scores) == pytest.approx(before, abs=1e-6)


def test_a_model_that_needs_no_calibration_stays_as_it_is(model: keras.Model) -> None:
    assert calibrated(model, (Curve(),) * 3, LABELS) is model


def test_it_loads_in_safe_mode(model: keras.Model, tmp_path: Path) -> None:
    made = calibrated(model, (WARM, LINES, SHORT), LABELS)
    made.save(tmp_path / "made.keras")
    read = keras.models.load_model(tmp_path / "made.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(_said(read), _said(made))


def test_probabilities_of_classes_still_add_up_to_1(model: keras.Model) -> None:
    classes = np.array([[0.7, 0.2, 0.1], [1, 0, 0], [0.3, 0.3, 0.4]], dtype=np.float32)
    said = ops.convert_to_numpy(calibrated(model, (WARM,) * 3, "multiclass")(classes))
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(said, temper(classes, WARM.temperature), atol=1e-6)
