"""Make heads to train and data to train them on."""

from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.training.params import HeadParams, LayerParams

Floats = npt.NDArray[np.float32]
MAX_BATCH, MAX_LAYERS = 128, 3
# Stands in for shared.config.sections.TrainingConfig, which needs pydantic.
TRAINING: Any = SimpleNamespace(
    max_epochs=200,
    early_stopping_patience=5,
    reduce_lr_patience=1,
    reduce_lr_factor=0.1,
    min_learning_rate=1e-5,
)
N_TRAIN = 3604
"""Training rows of emotions.csv, so that trials are as long as its."""
N_LABELS = 5


@dataclass(frozen=True, eq=False)
class Problem:
    """Hold (n, d) vectors and (n, L) labels, and which rows train and which judge."""

    vectors: Floats
    labels: Floats
    train_rows: npt.NDArray[np.int64]
    valid_rows: npt.NDArray[np.int64]

    @property
    def n_inputs(self) -> int:
        """The columns that a head reads."""
        return int(self.vectors.shape[1])


def make_problem(n_train: int, n_inputs: int) -> Problem:
    """Draw data with a quarter as many rows to judge as to train."""
    n_rows = n_train * 5 // 4
    rows = np.arange(n_rows)
    return Problem(*make_data(n_rows, n_inputs), rows[:n_train], rows[n_train:])


def make_data(n_rows: int, n_inputs: int) -> tuple[Floats, Floats]:
    """Draw unit vectors, and labels that follow from them but for some noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n_rows, n_inputs), dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    scores = x @ rng.normal(size=(n_inputs, N_LABELS)) + rng.normal(size=(n_rows, N_LABELS))
    return x, (scores > 0.5).astype(np.float32)


def random_head(rng: np.random.Generator, n_inputs: int) -> HeadParams:
    """Draw a head from the article's search space."""
    n_layers = int(rng.integers(1, MAX_LAYERS + 1))
    layers = tuple(
        LayerParams(
            units=int(np.exp(rng.uniform(np.log(48), np.log(n_inputs)))),
            activation=str(rng.choice(["relu", "linear", "swish"])),  # type: ignore[arg-type]
            dropout=float(rng.uniform(0, 0.6)),
        )
        for _ in range(n_layers)
    )
    return _head(layers, int(rng.integers(8, MAX_BATCH + 1)))


def square_head(units: int, n_layers: int = 3) -> HeadParams:
    """Make a head of equal layers with the largest batch."""
    return _head((LayerParams(units, "relu", 0.3),) * n_layers, MAX_BATCH)


def n_weights(params: HeadParams, n_inputs: int) -> int:
    """Count a head's weights."""
    widths = [n_inputs, *(layer.units for layer in params.layers), N_LABELS]
    return sum((a + 1) * b for a, b in pairwise(widths))


def _head(layers: tuple[LayerParams, ...], batch_size: int) -> HeadParams:
    return HeadParams(
        layers=layers,
        batch_size=batch_size,
        learning_rate=1e-3,
        optimizer="adam",
        weight_decay=0.0,
        batch_normalization=False,
        label_smoothing=0.0,
        loss="cross_entropy",
        focal_gamma=2.0,
    )
