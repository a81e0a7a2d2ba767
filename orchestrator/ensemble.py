"""Train the K-fold ensemble of the best trial's hyperparameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from orchestrator.predict import predict_vectors
from shared.config import TrainingConfig
from shared.errors import TagsweepError
from shared.training.fit import FitResult, Job, fit
from shared.training.head import build_head, with_probabilities
from shared.training.matrix import Matrix
from shared.training.params import HeadParams
from shared.training.schedule import Ending
from shared.training.trainer import Epoch, Trainer

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
    """Train one member a fold on (n, d) vectors and (n, L) labels, all folds at a time.

    Finished folds are read back. `folder` belongs to one ensemble key. `on_epoch(n_done, step,
    value)` follows the training. Raises TagsweepError when a member diverges.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"fold-{i}.keras" for i in range(len(folds))]
    jobs = [
        Job(i, params, seed + i, train_rows, held_out_rows)
        for i, (train_rows, held_out_rows) in enumerate(folds)
        if not paths[i].exists()
    ]
    if jobs:
        matrix = Matrix(vectors, labels, training.matrix_dtype)
        trainer = Trainer(matrix, training, len(jobs), params.batch_size)

        def follow(epoch: Epoch) -> None:
            on_epoch(len(folds) - trainer.n_heads, epoch.step, epoch.value)

        for result in fit(trainer, jobs, follow):
            _save(result, params, vectors.shape[1], labels.shape[1], paths[int(str(result.key))])
    members = tuple(keras.models.load_model(path, compile=False) for path in paths)
    out_of_fold = np.full(labels.shape, np.nan, dtype=np.float32)
    for member, (_, held_out_rows) in zip(members, folds, strict=True):
        out_of_fold[held_out_rows] = predict_vectors([member], vectors[held_out_rows])
    return Ensemble(members, out_of_fold)


def _save(result: FitResult, params: HeadParams, n_inputs: int, n_labels: int, path: Path) -> None:
    if result.ending is Ending.DIVERGED:
        raise TagsweepError(
            f"The ensemble's member {path.stem} diverged after {len(result.values)} epochs, though"
            " the trial that it repeats did not. Lower the learning rate's range."
        )
    head = build_head(params, n_inputs, n_labels, result.weights)
    unfinished = path.with_name(f"unfinished-{path.name}")
    with_probabilities(head).save(unfinished)
    unfinished.replace(path)
