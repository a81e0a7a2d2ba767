"""Turn hyperparameters into weights to start from, and weights into Keras models."""

from itertools import pairwise

import keras
import numpy as np
import numpy.typing as npt

from shared.training.inputs import Reading
from shared.training.params import HeadParams, Task

Weights = list[npt.NDArray[np.float32]]
"""A head's weights in the order of `keras.Sequential.get_weights`."""


def initial_weights(params: HeadParams, input_dim: int, n_labels: int, seed: int) -> Weights:
    """Draw the weights that a training starts from.

    Kernels are Glorot-uniform (Glorot & Bengio 2010, "Understanding the difficulty of training
    deep feedforward neural networks"), biases 0, as Keras's own. They are drawn by NumPy, so that
    equal seeds give equal weights on every backend, and no shape has to be compiled.
    """
    rng = np.random.default_rng([seed, _FIRST_WEIGHTS])
    widths = [input_dim, *(layer.units for layer in params.layers), n_labels]
    weights: Weights = []
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        limit = np.sqrt(6 / (n_in + n_out))
        weights.append(rng.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
        weights.append(np.zeros(n_out, np.float32))
        if params.batch_normalization and i < len(params.layers):
            weights += [fill(n_out, dtype=np.float32) for fill in _NORMALIZATION]
    return weights


def build_head(
    params: HeadParams, input_dim: int, n_labels: int, weights: Weights
) -> keras.Sequential:
    """Build the Keras model: float32 (batch, input_dim) embeddings to (batch, n_labels) logits."""
    head = keras.Sequential([keras.Input((input_dim,), dtype="float32")])
    for layer in params.layers:
        head.add(keras.layers.Dense(layer.units))
        if params.batch_normalization:
            head.add(keras.layers.BatchNormalization())
        head.add(keras.layers.Activation(layer.activation))
        head.add(keras.layers.Dropout(layer.dropout))
    head.add(keras.layers.Dense(n_labels))
    head.set_weights(weights)
    return head


def with_probabilities(head: keras.Sequential, task: Task = "multilabel") -> keras.Sequential:
    """Return the head with probabilities for its logits, (batch, n_labels), and shared weights.

    Each label's is a sigmoid; those of classes are a softmax, which adds up to 1.
    """
    inputs = keras.Input(head.input_shape[1:], dtype="float32")
    activation = "softmax" if task == "multiclass" else "sigmoid"
    return keras.Sequential([inputs, *head.layers, keras.layers.Activation(activation)])


def from_embeddings(head: keras.Sequential, reading: Reading) -> keras.Model:
    """Return the head behind its reading: float32 (batch, d) vectors of the encoders that it reads.

    These are layers of Keras's own, so that the model loads in safe mode and exports. Batch
    normalisation at rest is what standardises: Keras's Normalization, a constant, does not export.
    """
    if not reading.l2_normalize and reading.mean is None:
        return head
    inputs = embeddings = keras.Input(head.input_shape[1:], dtype="float32")
    if reading.l2_normalize:
        stops = np.cumsum([0, *(block.stop - block.start for block in reading.blocks)]).tolist()
        parts = [
            keras.layers.UnitNormalization()(embeddings[:, start:stop])
            for start, stop in pairwise(stops)
        ]
        inputs = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    if reading.mean is not None and reading.deviation is not None:
        standardize = keras.layers.BatchNormalization(center=False, scale=False, epsilon=0.0)
        standardize.build(inputs.shape)
        standardize.set_weights([reading.mean, np.square(reading.deviation)])
        inputs = standardize(inputs)
    return keras.Model(embeddings, head(inputs))


_FIRST_WEIGHTS = 0
"""What a seed is split by, so that weights are not drawn from the numbers that shuffle."""
_NORMALIZATION = (np.ones, np.zeros, np.zeros, np.ones)
"""The first gamma, beta, moving mean and moving variance."""
