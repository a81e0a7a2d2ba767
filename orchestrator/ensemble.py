"""Train the K-fold ensemble of the best trial's hyperparameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from orchestrator.predict import predict_vectors
from shared.config import TrainingConfig
from shared.errors import TagsweepError
from shared.training.fit import Ending, FitData, fit, to_device
from shared.training.head import with_probabilities
from shared.training.params import HeadParams

Fold = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""The training rows and the held-out rows of one member."""


@dataclass(frozen=True)
class Ensemble:
    """Hold the members and what each said of the rows that it had not seen.

    `out_of_fold` is (n, L) float32 probabilities, NaN in rows outside all folds. A member stops
    early on its held-out rows, so these scores are slightly optimistic.
    """

    members: tuple[keras.Sequential, ...]
    out_of_fold: npt.NDArray[np.float32]


def train_ensemble(
    params: HeadParams,
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    folds: Sequence[Fold],
    training: TrainingConfig,
    seed: int,
    folder: Path,
    on_epoch: Callable[[int, int, float], None],
) -> Ensemble:
    """Train one member a fold on (n, d) vectors and (n, L) labels; finished folds are read back.

    `folder` belongs to one ensemble key. `on_epoch(fold, step, value)` follows the training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    out_of_fold = np.full(labels.shape, np.nan, dtype=np.float32)
    members = []
    device = to_device(vectors, labels, *folds[0])
    for i, (train_rows, held_out_rows) in enumerate(folds):
        data = FitData(device.vectors, device.labels, train_rows, held_out_rows)
        path = folder / f"fold-{i}.keras"
        if not path.exists():
            _train_member(params, data, training, seed + i, path, partial(on_epoch, i))
        member = keras.models.load_model(path, compile=False)
        out_of_fold[held_out_rows] = predict_vectors([member], vectors[held_out_rows])
        members.append(member)
    return Ensemble(tuple(members), out_of_fold)


def _train_member(
    params: HeadParams,
    data: FitData,
    training: TrainingConfig,
    seed: int,
    path: Path,
    on_epoch: Callable[[int, float], None],
) -> None:
    def keep_going(step: int, value: float) -> bool:
        on_epoch(step, value)
        return True

    result = fit(params, data, training, seed, keep_going)
    if result.ending is Ending.DIVERGED:
        raise TagsweepError(
            f"The ensemble's member {path.stem} diverged after {len(result.values)} epochs, though"
            " the trial that it repeats did not. Lower the learning rate's range."
        )
    unfinished = path.with_name(f"unfinished-{path.name}")
    with_probabilities(result.head).save(unfinished)
    unfinished.replace(path)
