"""Plain Keras, to which the numeric core is held."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from scipy.special import log_softmax

from shared.config.sections import TrainingConfig
from shared.training.head import build_head, initial_weights
from shared.training.params import HeadParams, LayerParams, Task
from shared.training.slot import SHUFFLING
from workers import SearchArrays

N_INPUTS, N_LABELS = 8, 3
_KNOWN: dict[tuple[HeadParams, int, TrainingConfig], list[float]] = {}
"""What was trained already, always on the same arrays: padding changes our side alone."""


def heads(**fixed: Any) -> st.SearchStrategy[HeadParams]:
    """Draw heads without dropout."""
    layer = st.builds(
        LayerParams,
        units=st.integers(1, 24),
        activation=st.sampled_from(["relu", "linear", "swish"]),
        dropout=st.just(0.0),
    )
    values = {
        "layers": st.lists(layer, min_size=1, max_size=3).map(tuple),
        "batch_size": st.integers(8, 32),
        "learning_rate": st.sampled_from([1e-3, 1e-2]),
        "optimizer": st.just("adam"),
        "weight_decay": st.just(0.0),
        "batch_normalization": st.just(False),
        "label_smoothing": st.just(0.0),
        "loss": st.just("cross_entropy"),
        "focal_gamma": st.just(2.0),
        "task": st.just("multilabel"),
    }
    return st.builds(HeadParams, **(values | fixed))


def keras_head(params: HeadParams, seed: int) -> keras.Sequential:
    """Build the head that a training with this seed starts from."""
    weights = initial_weights(params, N_INPUTS, N_LABELS, seed)
    return build_head(params, N_INPUTS, N_LABELS, weights)


def keras_loss(params: HeadParams) -> keras.Loss:
    losses, common = keras.losses, {"from_logits": True, "label_smoothing": params.label_smoothing}
    if params.task == "multiclass" and params.loss == "focal":
        return losses.CategoricalFocalCrossentropy(1.0, params.focal_gamma, **common)
    if params.task == "multiclass":
        return losses.CategoricalCrossentropy(**common)
    if params.loss == "focal":
        return losses.BinaryFocalCrossentropy(gamma=params.focal_gamma, **common)
    return losses.BinaryCrossentropy(**common)


def keras_optimizer(params: HeadParams) -> keras.Optimizer:
    settings = {"learning_rate": params.learning_rate, "weight_decay": params.weight_decay}
    return keras.optimizers.get({"class_name": params.optimizer, "config": settings})


def keras_values(
    params: HeadParams, seed: int, arrays: SearchArrays, config: TrainingConfig
) -> list[float]:
    """Train with Keras's own loop, optimizer and callbacks on the same batches, once."""
    key = (params, seed, config)
    if key not in _KNOWN:
        _KNOWN[key] = _train(params, seed, arrays, config)
    return _KNOWN[key]


def _train(
    params: HeadParams, seed: int, arrays: SearchArrays, config: TrainingConfig
) -> list[float]:
    model = keras_head(params, seed)
    # XLA on a CPU would compile each of these models for a second.
    model.compile(keras_optimizer(params), keras_loss(params), jit_compile=_jit())
    rng = np.random.default_rng([seed, SHUFFLING])
    x, y = arrays.vectors[arrays.folds[0][1]], arrays.labels[arrays.folds[0][1]]
    callbacks = keras.callbacks.CallbackList(
        [
            keras.callbacks.ReduceLROnPlateau(
                factor=0.1, patience=1, min_lr=config.min_learning_rate
            ),
            keras.callbacks.EarlyStopping(patience=config.early_stopping_patience),
        ],
        model=model,
    )
    values: list[float] = []
    callbacks.on_train_begin()
    while len(values) < config.max_epochs and not model.stop_training:
        order = rng.permutation(arrays.folds[0][0])
        model.fit(
            arrays.vectors[order],
            arrays.labels[order],
            batch_size=params.batch_size,
            shuffle=False,
            verbose=0,
        )
        values.append(_entropy(model, x, y, params.task))
        callbacks.on_epoch_end(len(values) - 1, {"val_loss": values[-1]})
    return values


def keras_gradients(
    params: HeadParams, seed: int, x: npt.NDArray[Any], y: npt.NDArray[Any]
) -> list[npt.NDArray[Any]]:
    """Return the gradient of one batch by the backend's own differentiation."""
    model, loss = keras_head(params, seed), keras_loss(params)
    if keras.backend.backend() == "jax":
        import jax

        def loss_of(variables: Any) -> Any:
            fixed = [v.value for v in model.non_trainable_variables]
            logits, _ = model.stateless_call(variables, fixed, x, training=True)
            return loss(y, logits)

        found = jax.grad(loss_of)([v.value for v in model.trainable_variables])
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        found = tape.gradient(value, model.trainable_variables)
    return [np.asarray(keras.ops.convert_to_numpy(gradient)) for gradient in found]


def _entropy(
    model: keras.Sequential, x: npt.NDArray[Any], y: npt.NDArray[Any], task: Task
) -> float:
    logits = np.asarray(keras.ops.convert_to_numpy(model(x, training=False)), dtype=np.float64)
    if task == "multiclass":
        return float(-np.mean(np.sum(y * log_softmax(logits, axis=1), axis=1)))
    return float(np.mean(np.logaddexp(0, logits) - y * logits))


def _jit() -> bool:
    return keras.backend.backend() == "jax"
