"""Train one head on rows of an embedding matrix, an epoch at a time, as one graph."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from shared.config import TrainingConfig
from shared.training.head import build_head, build_loss, build_optimizer
from shared.training.params import HeadParams

VALIDATION_ROWS = 8192
"""Rows a forward pass when measuring: bounds memory, and costs nothing at this size."""


@dataclass(frozen=True)
class FitData:
    """What a head is trained on: one matrix for all heads of a process, and rows of it.

    `vectors` (n, d) float32 and `labels` (n, L) float32 are tensors on the device; `train_rows`
    and `valid_rows` are int64 row numbers.
    """

    vectors: tf.Tensor
    labels: tf.Tensor
    train_rows: npt.NDArray[np.int64]
    valid_rows: npt.NDArray[np.int64]


class Ending(Enum):
    """Say why a training ended."""

    EARLY_STOPPED = "early stopped"
    MAX_EPOCHS = "max epochs"
    STOPPED = "stopped"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class FitResult:
    """Hold a trained head with its best weights.

    `values` are the validation losses of the epochs, binary cross-entropy in nats a label.
    """

    head: keras.Sequential
    values: tuple[float, ...]
    ending: Ending

    @property
    def best_value(self) -> float:
        """The lowest validation loss; NaN before any."""
        return min(self.values, default=math.nan)


def to_device(
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    train_rows: npt.NDArray[np.int64],
    valid_rows: npt.NDArray[np.int64],
) -> FitData:
    """Put (n, d) vectors and (n, L) labels where the heads are trained."""
    return FitData(tf.constant(vectors), tf.constant(labels), train_rows, valid_rows)


def fit(
    params: HeadParams,
    data: FitData,
    config: TrainingConfig,
    seed: int,
    on_epoch: Callable[[int, float], bool],
) -> FitResult:
    """Train one head until it stops improving, `on_epoch` returns False, or the epochs are spent.

    `on_epoch(step, value)` gets the epoch's number from 0 and its validation loss: binary
    cross-entropy whatever the training loss, so that trials compare. A loss that is not finite
    ends the training without a report. The schedule is Keras's own ReduceLROnPlateau and
    EarlyStopping (https://keras.io/api/callbacks/); only the loop over batches is ours, because
    `Model.fit` spends 4-10 ms a step on what takes 0.2 ms.
    """
    head = build_head(params, data.vectors.shape[1], data.labels.shape[1], seed)
    head.compile(build_optimizer(params))
    train_epoch, validate = _epoch_program(head, params, data)
    schedule = _schedule(head, config)
    rng = np.random.default_rng(seed)
    values: list[float] = []
    ending = Ending.MAX_EPOCHS
    schedule.on_train_begin()
    for step in range(config.max_epochs):
        train_epoch(tf.constant(rng.permutation(data.train_rows)))
        value = float(validate())
        if not math.isfinite(value):
            ending = Ending.DIVERGED
            break
        values.append(value)
        schedule.on_epoch_end(step, {"val_loss": value})
        if not on_epoch(step, value):
            ending = Ending.STOPPED
            break
        if head.stop_training:
            ending = Ending.EARLY_STOPPED
            break
    schedule.on_train_end()
    return FitResult(head, tuple(values), ending)


def predict_logits(
    head: keras.Sequential, vectors: tf.Tensor, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return the (len(rows), L) float32 logits of a head for some rows of the matrix."""
    parts = [
        head(tf.gather(vectors, rows[start : start + VALIDATION_ROWS]), training=False).numpy()
        for start in range(0, len(rows), VALIDATION_ROWS)
    ]
    return np.concatenate(parts)


def _epoch_program(
    head: keras.Sequential, params: HeadParams, data: FitData
) -> tuple[Callable[[tf.Tensor], None], Callable[[], tf.Tensor]]:
    """Trace two graphs: one epoch over a given order of rows, and the validation loss."""
    variables = head.trainable_variables
    head.optimizer.build(variables)
    loss_of = build_loss(params)
    n_train = len(data.train_rows)
    valid_rows = tf.constant(data.valid_rows)
    n_valid = len(data.valid_rows)

    def train_epoch(order: tf.Tensor) -> None:
        for start in tf.range(0, n_train, params.batch_size):
            rows = order[start : start + params.batch_size]
            with tf.GradientTape() as tape:
                logits = head(tf.gather(data.vectors, rows), training=True)
                loss = loss_of(tf.gather(data.labels, rows), logits)
            head.optimizer.apply(tape.gradient(loss, variables), variables)

    def validate() -> tf.Tensor:
        total = tf.constant(0.0)
        for start in tf.range(0, n_valid, VALIDATION_ROWS):
            rows = valid_rows[start : start + VALIDATION_ROWS]
            logits = head(tf.gather(data.vectors, rows), training=False)
            labels = tf.gather(data.labels, rows)
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
            total += tf.reduce_sum(tf.reduce_mean(losses, axis=1))
        return total / n_valid

    return tf.function(train_epoch, jit_compile=False), tf.function(validate, jit_compile=False)


def _schedule(head: keras.Sequential, config: TrainingConfig) -> Any:
    callbacks = [
        keras.callbacks.ReduceLROnPlateau(
            factor=config.reduce_lr_factor,
            patience=config.reduce_lr_patience,
            mode="min",
            min_lr=config.min_learning_rate,
        ),
        keras.callbacks.EarlyStopping(
            patience=config.early_stopping_patience, mode="min", restore_best_weights=True
        ),
    ]
    return keras.callbacks.CallbackList(callbacks, model=head)
