from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from shared.training.head import initial_weights
from shared.training.params import HeadParams
from shared.training.program.layout import cuts_of, layers_of, parts_of, to_rows
from shared.training.program.losses import error_of, n_losses, smoothing_centre
from shared.training.program.network import ACTIVATIONS, backward, forward_in_training, gates_of
from tests.shared_tests.training.reference import N_INPUTS, N_LABELS, heads, keras_gradients

WIDE = 32
KINDS = {
    "batch_normalization": st.booleans(),
    "label_smoothing": st.sampled_from([0.0, 0.1]),
    "loss": st.sampled_from(["cross_entropy", "focal"]),
    "focal_gamma": st.sampled_from([0.5, 2.0]),
    "task": st.sampled_from(["multilabel", "multiclass"]),
}


def packed_gradients(params: HeadParams, seed: int, x, y) -> list[Any]:
    """Compute the gradient of a head padded to 32 units and rows."""
    structure = params.structure
    widths = (N_INPUTS, *[WIDE] * structure.n_layers, N_LABELS)
    rows = to_rows(initial_weights(params, N_INPUTS, N_LABELS, seed), widths, structure)
    trained, statistics = (ops.convert_to_tensor(row[None]) for row in rows)
    layers = layers_of(parts_of(trained, cuts_of(widths, structure)), statistics, widths, structure)
    vectors = np.pad(x, ((0, WIDE - len(x)), (0, 0)), constant_values=9.0)[None]
    labels = np.pad(y, ((0, WIDE - len(y)), (0, 0)))[None]
    share = ((np.arange(WIDE) < len(x)) / len(x)).astype(np.float32)[None, :, None]
    activation = np.array([[ACTIVATIONS.index(layer.activation) for layer in params.layers]])
    gates = gates_of(ops.convert_to_tensor(activation), structure)
    masks = [np.float32(1.0)] * structure.n_layers
    logits, passes, _ = forward_in_training(
        layers, ops.convert_to_tensor(vectors), gates, masks, share
    )
    centre = ops.convert_to_numpy(smoothing_centre(params.task, labels))
    targets = labels + (centre - labels) * np.float32(params.label_smoothing)
    gamma = np.float32(params.focal_gamma)
    error = error_of(structure, targets, logits, gamma)
    error = error * (share / n_losses(params.task, N_LABELS))
    return [ops.convert_to_numpy(part)[0] for part in backward(layers, passes, error, share)]


@settings(max_examples=12, deadline=None)
@given(heads(**KINDS), st.integers(0, 99))
def test_gradients_are_those_of_keras(params: HeadParams, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(params.batch_size, N_INPUTS)).astype(np.float32)
    drawn = rng.random((params.batch_size, N_LABELS))
    is_true = drawn > 0.5 if params.task == "multilabel" else drawn == drawn.max(1, keepdims=True)
    y = is_true.astype(np.float32)
    expected = keras_gradients(params, seed, x, y)
    found = packed_gradients(params, seed, x, y)
    # Normalising takes differences of large sums; before it, a bias has no gradient but rounding.
    smallest = max(np.abs(theirs).max() for theirs in expected)
    smallest *= 1e-5 if params.batch_normalization else 1e-6
    for ours, theirs in zip(found, expected, strict=True):
        shape = theirs.shape if theirs.ndim == 2 else (1, *theirs.shape)
        own = ours[: shape[0], : shape[1]]
        np.testing.assert_allclose(own, theirs.reshape(shape), rtol=1e-5, atol=smallest)
        np.testing.assert_array_equal(ours[shape[0] :], 0)
        np.testing.assert_array_equal(ours[:, shape[1] :], 0)
