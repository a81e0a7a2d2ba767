"""Define the task that all contenders are given: the same arrays, search space and training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[np.float32]]
MIN_UNITS = 48
ACTIVATIONS = ["relu", "linear", "swish"]
MAX_DROPOUT = 0.6
BATCH_SIZES = (8, 128)
MAX_EPOCHS = 200


@dataclass(frozen=True)
class Found:
    """Hold a search's times, in seconds since the epoch, and its best validation loss."""

    first_trial_started: float
    last_trial_ended: float
    n_trials: int
    best: float


class Search(Protocol):
    """Be what each contender's module offers."""

    def __call__(self, folder: Path, n_trials: int, seed: int) -> Found:
        """Search for the best head on the arrays that the folder holds."""


def load_arrays(folder: Path) -> Arrays:
    """Read `x`, `y`, `x_valid` and `y_valid`."""
    with np.load(folder / "arrays.npz") as arrays:
        return dict(arrays)


def suggest(trial: Any, n_inputs: int) -> dict[str, Any]:
    """Suggest a head as the article does; `trial` is Optuna's."""
    params: dict[str, Any] = {"n_layers": trial.suggest_int("n_layers", 1, 3)}
    for i in range(params["n_layers"]):
        params |= {
            f"n_units_l{i}": trial.suggest_int(f"n_units_l{i}", MIN_UNITS, n_inputs, log=True),
            f"activation{i}": trial.suggest_categorical(f"activation{i}", ACTIVATIONS),
            f"dropout{i}": trial.suggest_float(f"dropout{i}", 0, MAX_DROPOUT),
        }
    return params | {"batch_size": trial.suggest_int("batch_size", *BATCH_SIZES)}


def build(params: dict[str, Any], n_inputs: int, n_labels: int) -> Any:
    """Build and compile the article's head."""
    import keras

    model = keras.Sequential([keras.Input((n_inputs,))])
    for i in range(params["n_layers"]):
        units, activation = params[f"n_units_l{i}"], params[f"activation{i}"]
        model.add(keras.layers.Dense(units, activation=activation))
        model.add(keras.layers.Dropout(params[f"dropout{i}"]))
    model.add(keras.layers.Dense(n_labels, activation="sigmoid"))
    model.compile("adam", "binary_crossentropy")
    return model


def train(
    model: Any, arrays: Arrays, batch_size: int, callbacks: tuple[Any, ...] = ()
) -> list[float]:
    """Train with `model.fit` and the article's callbacks; return the epochs' validation losses."""
    import keras

    history = model.fit(
        arrays["x"],
        arrays["y"],
        batch_size=batch_size,
        epochs=MAX_EPOCHS,
        validation_data=(arrays["x_valid"], arrays["y_valid"]),
        callbacks=[
            keras.callbacks.ReduceLROnPlateau(factor=0.1, patience=1, min_lr=1e-5),
            keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True),
            *callbacks,
        ],
        verbose=0,
    )
    return [float(value) for value in history.history["val_loss"]]
