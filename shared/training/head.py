"""Turn hyperparameters into Keras objects: the model, its optimizer and its loss."""

import itertools

import keras

from shared.training.params import HeadParams


def build_head(params: HeadParams, input_dim: int, n_labels: int, seed: int) -> keras.Sequential:
    """Build the untrained head: float32 (batch, input_dim) embeddings to (batch, n_labels) logits.

    Equal seeds give equal weights and dropout masks, whatever else the process has drawn.
    """
    seeds = itertools.count(seed * 1000)
    head = keras.Sequential([keras.Input((input_dim,), dtype="float32")])
    for layer in params.layers:
        head.add(keras.layers.Dense(layer.units, kernel_initializer=_glorot(next(seeds))))
        if params.batch_normalization:
            head.add(keras.layers.BatchNormalization())
        head.add(keras.layers.Activation(layer.activation))
        head.add(keras.layers.Dropout(layer.dropout, seed=next(seeds)))
    head.add(keras.layers.Dense(n_labels, kernel_initializer=_glorot(next(seeds))))
    return head


def build_optimizer(params: HeadParams) -> keras.Optimizer:
    """Build the optimizer named by the parameters, with Keras's defaults for all else."""
    settings = {
        "learning_rate": params.learning_rate,
        "weight_decay": params.weight_decay or None,
    }
    return keras.optimizers.get({"class_name": params.optimizer, "config": settings})


def build_loss(params: HeadParams) -> keras.Loss:
    """Build the training loss on logits."""
    if params.loss == "focal":
        return keras.losses.BinaryFocalCrossentropy(
            gamma=params.focal_gamma, from_logits=True, label_smoothing=params.label_smoothing
        )
    return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=params.label_smoothing)


def with_probabilities(head: keras.Sequential) -> keras.Sequential:
    """Return the head with a sigmoid behind it: (batch, n_labels) probabilities, shared weights."""
    inputs = keras.Input(head.input_shape[1:], dtype="float32")
    return keras.Sequential([inputs, *head.layers, keras.layers.Activation("sigmoid")])


def _glorot(seed: int) -> keras.Initializer:
    return keras.initializers.GlorotUniform(seed=seed)
