"""Measure how often figures claim to beat chance where labels say nothing of the texts."""

import tempfile

import numpy as np
import numpy.typing as npt

from orchestrator.data.dataset import Dataset
from orchestrator.data.splits import make_folds
from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.members import Fold, Team, kernel_team, train_teams
from orchestrator.ensemble.strategies import choose_each
from orchestrator.evaluation.bootstrap import compare, measure
from orchestrator.evaluation.scores import Scores
from shared.config.sweep import SweepConfig
from shared.store import Store
from shared.training.params import HeadParams, LayerParams, Task

N_ROWS = 400
N_FOLDS = 5
N_CLASSES = 6
N_ORDERS = 200
"""Random scores that chance is the mean figure of."""
WAYS = {"best": "members", "kernel": "kernel", "greedy": "greedy"}
KINDS = ("out_of_fold", "nested")
HEADS = ((256, 0.3, 64), (64, 0.1, 32))
"""Units, dropout and batch size of the heads that the ensemble may have."""

Floats = npt.NDArray[np.float32]


def noise(vectors: Floats, task: Task, n_runs: int) -> dict[str, dict[str, float]]:
    """Return for each way the share of runs whose interval lies above chance, by its figure."""
    runs = [_claims(vectors, task, seed) for seed in range(n_runs)]
    return {
        name: {kind: float(np.mean([run[way][kind] for run in runs])) for kind in runs[0][way]}
        for way, name in WAYS.items()
    }


def _claims(vectors: Floats, task: Task, seed: int) -> dict[str, dict[str, bool]]:
    """Say whether each way's out-of-fold and nested figures exceed chance by their interval."""
    rng = np.random.default_rng(seed)
    vectors = vectors[rng.choice(len(vectors), N_ROWS, replace=False)]
    if task == "multiclass":
        labels = np.eye(N_CLASSES, dtype=np.float32)[rng.integers(N_CLASSES, size=N_ROWS)]
    else:
        labels = (rng.random((N_ROWS, 3)) < (0.3, 0.15, 0.08)).astype(np.float32)
    rows = np.arange(N_ROWS)
    names = tuple(map(str, range(labels.shape[1])))
    folds = make_folds(Dataset(names, labels, names, ""), rows, rows, N_FOLDS, seed)
    choices = choose_each(_teams(vectors, labels, folds, task, seed), labels, folds)
    at_random = [
        Scores(rows, labels, rng.random(labels.shape, dtype=np.float32)) for _ in range(N_ORDERS)
    ]
    chance = float(np.mean([measure(one, "ap_weighted") for one in at_random]))
    return {
        way: {
            kind: _low_end(Scores(rows, labels, getattr(choices[way], kind))) > chance
            for kind in KINDS
        }
        for way in WAYS
    }


def _teams(vectors: Floats, labels: Floats, folds: list[Fold], task: Task, seed: int) -> list[Team]:
    candidates = [
        Candidate(i, _head(units, dropout, batch_size, task), f"head-{i}")
        for i, (units, dropout, batch_size) in enumerate(HEADS)
    ]
    widths = {"encoder": vectors.shape[1]}
    with tempfile.TemporaryDirectory() as folder:
        teams = train_teams(
            candidates,
            vectors,
            widths,
            labels,
            folds,
            SweepConfig().training,
            seed,
            Store(folder),
            lambda *_: None,
            lambda *_: None,
        )
    return [*teams, kernel_team(("encoder",), vectors, labels, folds, task, seed)]


def _head(units: int, dropout: float, batch_size: int, task: Task) -> HeadParams:
    layers = (LayerParams(units, "relu", dropout),)
    return HeadParams(
        layers, batch_size, 1e-3, "adam", 0.0, False, 0.0, "cross_entropy", 2.0, task=task
    )


def _low_end(scores: Scores) -> float:
    return compare({"ours": scores}, "ap_weighted", 0).values["ours"].low
