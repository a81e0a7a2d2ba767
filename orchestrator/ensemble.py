"""Train the K-fold ensemble of the best trial's hyperparameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import numpy.typing as npt

from orchestrator.predict import predict_vectors
from shared.errors import TagsweepError
from shared.sections import TrainingConfig
from shared.store import read_file, write_file
from shared.training.fit import FitResult, Job, fit
from shared.training.fused import fuse
from shared.training.head import build_head, with_probabilities
from shared.training.matrix import Matrix
from shared.training.params import HeadParams
from shared.training.schedule import Ending
from shared.training.trainer import Epoch, Trainer

KEY_CHARACTERS = 16
"""How much of an ensemble's key names its folder."""

Fold = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""The training rows and the held-out rows of one member."""


@dataclass(frozen=True)
class Ensemble:
    """Hold the members, all fused into one model, and what each said of rows it had not seen.

    `out_of_fold` is (n, L) float32 probabilities, NaN in rows outside all folds. A member stops
    early on its held-out rows, so these scores are slightly optimistic.
    """

    members: tuple[keras.Sequential, ...]
    model: keras.Model
    out_of_fold: npt.NDArray[np.float32]


def train_ensemble(
    params: HeadParams,
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    folds: Sequence[Fold],
    training: TrainingConfig,
    seed: int,
    store: str,
    key: str,
    on_epoch: Callable[[int, int, float], None],
    on_fold: Callable[[int, int], None],
) -> Ensemble:
    """Train one member a fold on (n, d) vectors and (n, L) labels, all folds at a time.

    Finished folds are kept in the store under the ensemble's key, and read back from there.
    `on_epoch(n_done, step, value)` follows the training, `on_fold(i, epochs)` is called when a
    fold's member is kept. Raises TagsweepError when a member diverges.
    """
    names = [name_of_member(key, i) for i in range(len(folds))]
    found = {i: member for i, name in enumerate(names) if (member := _load(store, name))}
    jobs = [
        Job(i, params, seed + i, train_rows, held_out_rows)
        for i, (train_rows, held_out_rows) in enumerate(folds)
        if i not in found
    ]
    if jobs:
        matrix = Matrix(vectors, labels, training.matrix_dtype)
        trainer = Trainer(matrix, training, len(jobs), params.batch_size)

        def follow(epoch: Epoch) -> None:
            on_epoch(len(folds) - trainer.n_heads, epoch.step, epoch.value)

        for result in fit(trainer, jobs, follow):
            i = int(str(result.key))
            found[i] = _finish(result, params, vectors.shape[1], labels.shape[1], names[i])
            _save(found[i], store, names[i])
            on_fold(i, len(result.values))
    members = tuple(found[i] for i in range(len(folds)))
    out_of_fold = np.full(labels.shape, np.nan, dtype=np.float32)
    for member, (_, held_out_rows) in zip(members, folds, strict=True):
        out_of_fold[held_out_rows] = predict_vectors(member, vectors[held_out_rows])
    return Ensemble(members, fuse(members), out_of_fold)


def name_of_member(key: str, fold: int) -> str:
    """Return what a fold's member is called in the store."""
    return f"ensemble/{key[:KEY_CHARACTERS]}/fold-{fold}.keras"


def _finish(
    result: FitResult, params: HeadParams, n_inputs: int, n_labels: int, name: str
) -> keras.Sequential:
    if result.ending is Ending.DIVERGED:
        raise TagsweepError(
            f"The ensemble's member {name} diverged after {len(result.values)} epochs, though"
            " the trial that it repeats did not. Lower the learning rate's range."
        )
    return with_probabilities(build_head(params, n_inputs, n_labels, result.weights), params.task)


def _load(store: str, name: str) -> keras.Sequential | None:
    try:
        content = read_file(store, name)
    except FileNotFoundError:
        return None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "member.keras"
        path.write_bytes(content)
        return keras.models.load_model(path, compile=False)


def _save(member: keras.Sequential, store: str, name: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "member.keras"
        member.save(path)
        write_file(store, name, path.read_bytes())
