"""Train the K-fold members of trials, and join them into the ensemble."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import numpy.typing as npt

from orchestrator.bundle.predict import predict_vectors
from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.fit import FitResult, Job, fit
from orchestrator.ensemble.fused import fuse
from orchestrator.ensemble.kernel import fit_kernel_machine
from shared.config.sections import TrainingConfig
from shared.errors import TagsweepError
from shared.store import MissingError, Store, TornError
from shared.training.head import build_head, from_embeddings, with_probabilities
from shared.training.inputs import Widths, blocks_of, columns_of
from shared.training.matrix import Matrix
from shared.training.params import Task
from shared.training.schedule import Ending
from shared.training.trainer import Epoch, Trainer

KEY_CHARACTERS = 16
"""How much of a key names the folder of a trial's members."""

Fold = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""The training rows and the held-out rows of one member."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Team:
    """Hold members of one kind, and what those who had not seen a row said of it.

    `trial` is the number of the trial that they are like, one a fold; None: a kernel machine. Each
    takes the vectors of `encoders`, side by side. `out_of_fold` is (n, L) float32 probabilities,
    NaN in rows outside all folds. A member stops early on its held-out rows, so these scores are
    slightly optimistic.
    """

    trial: int | None
    encoders: tuple[str, ...]
    members: tuple[keras.Model, ...]
    out_of_fold: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Ensemble:
    """Hold one model of all members, what it reads, and its out-of-fold probabilities."""

    encoders: tuple[str, ...]
    model: keras.Model
    out_of_fold: npt.NDArray[np.float32]


def train_teams(
    candidates: Sequence[Candidate],
    vectors: npt.NDArray[np.float32],
    widths: Widths,
    labels: npt.NDArray[np.float32],
    folds: Sequence[Fold],
    training: TrainingConfig,
    seed: int,
    store: Store,
    on_epoch: Callable[[int, int, int, int], None],
    on_member: Callable[[int, int, int], None],
) -> list[Team]:
    """Train one member a candidate and fold on (n, D) vectors and (n, L) labels, all at a time.

    What is standardised is so by the statistics of the rows of all folds, the same for each member:
    they tell nothing of a label, and members that read alike are trained as one pack.
    Finished members are kept in the store under their candidate's key, and read back from there.
    `on_epoch(n_done, trial, fold, step)` follows the training, `on_member(trial, fold, epochs)` is
    called when a member is kept. Raises TagsweepError when a member diverges.
    """
    places = [(candidate, fold) for candidate in candidates for fold in range(len(folds))]
    names = [name_of_member(candidate.key, fold) for candidate, fold in places]
    found = {i: member for i, name in enumerate(names) if (member := _load(store, name))}
    jobs = [
        Job(i, candidate.params, seed + fold, *folds[fold])
        for i, (candidate, fold) in enumerate(places)
        if i not in found
    ]
    if jobs:
        matrix = Matrix(
            vectors,
            labels,
            training.matrix_dtype,
            widths=widths,
            known_rows=np.sort(np.concatenate([held_out for _, held_out in folds])),
            inputs=list(dict.fromkeys(job.params.inputs for job in jobs)),
        )
        max_batch_size = max(job.params.batch_size for job in jobs)
        max_layers = max(len(job.params.layers) for job in jobs)
        trainer = Trainer(matrix, training, len(jobs), max_batch_size, max_layers)

        def follow(epoch: Epoch) -> None:
            candidate, fold = places[epoch.key]
            on_epoch(len(found), candidate.trial, fold, epoch.step)

        for result in fit(trainer, jobs, follow):
            candidate, fold = places[result.key]
            member = _finish(result, candidate, matrix, fold)
            _save(member, store, names[result.key])
            found[result.key] = member
            on_member(candidate.trial, fold, len(result.values))
    n_folds = len(folds)
    return [
        _team(
            candidate,
            [found[i * n_folds + fold] for fold in range(n_folds)],
            folds,
            vectors,
            widths,
        )
        for i, candidate in enumerate(candidates)
    ]


def kernel_team(
    encoders: tuple[str, ...],
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    folds: Sequence[Fold],
    task: Task,
    seed: int,
) -> Team:
    """Fit a kernel machine on the vectors of some encoders, in the rows of all folds."""
    machine = fit_kernel_machine(vectors, labels, folds, task, seed)
    return Team(None, encoders, (machine.model,), machine.out_of_fold)


def join(teams: Sequence[Team], shares: Sequence[float], widths: Widths) -> Ensemble:
    """Return the ensemble of teams in shares that sum to 1; a team without a share is left out.

    Its model takes the vectors of those encoders that a team reads, in the order of all.
    """
    chosen = [(team, share) for team, share in zip(teams, shares, strict=True) if share > 0]
    members = [member for team, _ in chosen for member in team.members]
    weights = [share / len(team.members) for team, share in chosen for _ in team.members]
    out_of_fold = np.sum([share * team.out_of_fold for team, share in chosen], axis=0)
    is_read = {encoder for team, _ in chosen for encoder in team.encoders}
    read = {name: width for name, width in widths.items() if name in is_read}
    columns = [blocks_of(team.encoders, read) for team, _ in chosen for _ in team.members]
    is_equal = len(set(weights)) == 1
    model = fuse(members, None if is_equal else weights, columns)
    return Ensemble(tuple(read), model, out_of_fold.astype(np.float32))


def name_of_member(key: str, fold: int) -> str:
    """Return what the member of a fold is called in the store."""
    return f"ensemble/{key[:KEY_CHARACTERS]}/fold-{fold}.keras"


def _team(
    candidate: Candidate,
    members: Sequence[keras.Model],
    folds: Sequence[Fold],
    vectors: npt.NDArray[np.float32],
    widths: Widths,
) -> Team:
    encoders = candidate.params.inputs.encoders or tuple(widths)
    n_labels = members[0].output_shape[1]
    out_of_fold = np.full((len(vectors), n_labels), np.nan, dtype=np.float32)
    for member, (_, held_out_rows) in zip(members, folds, strict=True):
        own = columns_of(encoders, widths, vectors[held_out_rows])
        out_of_fold[held_out_rows] = predict_vectors(member, own)
    return Team(candidate.trial, encoders, tuple(members), out_of_fold)


def _finish(result: FitResult, candidate: Candidate, matrix: Matrix, fold: int) -> keras.Model:
    if result.ending is Ending.DIVERGED:
        raise TagsweepError(
            f"The ensemble's member {fold} of trial {candidate.trial} diverged after"
            f" {len(result.values)} epochs, though the trial did not. Lower the learning rate's"
            " range."
        )
    params = candidate.params
    head = build_head(params, matrix.width_of(params.inputs), matrix.n_labels, result.weights)
    return from_embeddings(with_probabilities(head, params.task), matrix.reading(params.inputs))


def _load(store: Store, name: str) -> keras.Model | None:
    try:
        content = store.read_sealed(name)
    except MissingError:
        return None
    except TornError as error:
        logger.warning("%s The member is trained again.", error)
        return None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "member.keras"
        path.write_bytes(content)
        return keras.models.load_model(path, compile=False)


def _save(member: keras.Model, store: Store, name: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "member.keras"
        member.save(path)
        store.write_sealed(name, path.read_bytes())
