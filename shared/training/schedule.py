"""Follow a head's validation loss: lower its learning rate, keep its best epoch, stop it."""

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # training needs no pydantic, so that it runs where only Keras is
    from shared.config.sections import TrainingConfig

MIN_DELTA = 1e-4
"""What Keras's ReduceLROnPlateau counts as an improvement."""


class Ending(Enum):
    """Say why a training ended."""

    EARLY_STOPPED = "early stopped"
    MAX_EPOCHS = "max epochs"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Progress:
    """Hold where a head stands: what Keras's callbacks keep in themselves."""

    learning_rate: float
    epochs: int = 0
    value: float = math.nan
    best_value: float = math.inf
    improved: bool = False
    epochs_since_best: int = 0
    plateau_best: float = math.inf
    plateau_epochs: int = 0
    ending: Ending | None = None


def advance(progress: Progress, value: float, config: "TrainingConfig") -> Progress:
    """Take in the validation loss of one more epoch.

    The same as keras.callbacks.ReduceLROnPlateau and EarlyStopping(restore_best_weights=True)
    with `mode="min"` (https://keras.io/api/callbacks/). A loss that is not finite ends the
    training and changes nothing else.
    """
    epochs = progress.epochs + 1
    if not math.isfinite(value):
        return replace(progress, epochs=epochs, improved=False, ending=Ending.DIVERGED)
    improved = value < progress.best_value
    since_best = 0 if improved else progress.epochs_since_best + 1
    ending = None
    if since_best >= config.early_stopping_patience:
        ending = Ending.EARLY_STOPPED
    elif epochs >= config.max_epochs:
        ending = Ending.MAX_EPOCHS
    return replace(
        _reduce_on_plateau(progress, value, config),
        epochs=epochs,
        value=value,
        best_value=min(value, progress.best_value),
        improved=improved,
        epochs_since_best=since_best,
        ending=ending,
    )


def _reduce_on_plateau(progress: Progress, value: float, config: "TrainingConfig") -> Progress:
    if value < progress.plateau_best - MIN_DELTA:
        return replace(progress, plateau_best=value, plateau_epochs=0)
    epochs = progress.plateau_epochs + 1
    if epochs < config.reduce_lr_patience:
        return replace(progress, plateau_epochs=epochs)
    rate = progress.learning_rate
    if rate <= float(np.float32(config.min_learning_rate)):
        return replace(progress, plateau_epochs=epochs)
    lower = max(rate * config.reduce_lr_factor, config.min_learning_rate)
    return replace(progress, learning_rate=float(np.float32(lower)), plateau_epochs=0)
