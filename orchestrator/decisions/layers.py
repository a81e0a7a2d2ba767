"""Put the calibration of its probabilities behind a model, as layers of Keras's own."""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from orchestrator.decisions.calibration import CLIP, Curve
from shared.training.params import Task

Weights = npt.NDArray[np.float32]


def calibrated(model: keras.Model, curves: Sequence[Curve], task: Task) -> keras.Model:
    """Return the model with each of its L probabilities calibrated by a curve.

    Those of classes have one temperature, and still add up to 1. Where no curve changes anything
    it is the model itself. There is no layer of our own in it, so that it loads in Keras's safe
    mode, without tagsweep, and exports.
    """
    outputs = model.outputs[0]
    if any(curve.temperature != 1 for curve in curves):
        outputs = _tempered(outputs, curves, task)
    if any(curve.method == "isotonic" for curve in curves):
        outputs = _along_lines(outputs, curves)
    if outputs is model.outputs[0]:
        return model
    return keras.Model(model.inputs[0], outputs, name="calibrated_ensemble")


def _tempered(
    probabilities: keras.KerasTensor, curves: Sequence[Curve], task: Task
) -> keras.KerasTensor:
    clipped = ops.clip(probabilities, *CLIP)
    logits, activation = ops.log(clipped), "softmax"
    if task == "multilabel":
        logits, activation = logits - ops.log(1 - clipped), "sigmoid"
    divide = keras.layers.EinsumDense("bl,l->bl", output_shape=(len(curves),), name="temperature")
    divided = divide(logits)
    divide.set_weights([np.array([1 / curve.temperature for curve in curves], np.float32)])
    return keras.layers.Activation(activation, name="tempered")(divided)


def _along_lines(probabilities: keras.KerasTensor, curves: Sequence[Curve]) -> keras.KerasTensor:
    """Add up how far a probability has come along each line: 0 to 1 times the line's rise.

    No term falls where the probability rises, so neither does their sum, however it is rounded.
    """
    slopes, offsets, rises = _lines_of(curves)
    n_labels, n_lines = slopes.shape
    along = keras.layers.EinsumDense(
        "bl,lk->blk", output_shape=(n_labels, n_lines), bias_axes="lk", name="lines"
    )
    rise = keras.layers.EinsumDense("blk,lk->bl", output_shape=(n_labels,), name="isotonic")
    outputs = rise(keras.layers.ReLU(max_value=1.0, name="along_lines")(along(probabilities)))
    along.set_weights([slopes, offsets])
    rise.set_weights([rises])
    return outputs


def _lines_of(curves: Sequence[Curve]) -> tuple[Weights, Weights, Weights]:
    """Return (L, k) slopes, offsets and rises; labels with fewer lines are filled with zeros."""
    n_lines = max(len(curve.knots) for curve in curves) - 1
    found = np.zeros((3, len(curves), n_lines))
    for label, curve in enumerate(curves):
        before, after = np.transpose(curve.knots)
        slopes = 1 / np.diff(before)
        found[:, label, : len(slopes)] = slopes, -before[:-1] * slopes, np.diff(after)
    slopes, offsets, rises = found.astype(np.float32)
    return slopes, offsets, rises
