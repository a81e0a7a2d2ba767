"""Say what each way of making the ensemble gives, and by how much it beats the best trial's."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.bootstrap import compare
from orchestrator.ensemble import Fold, Team
from orchestrator.predict import predict_vectors
from orchestrator.scores import Scores
from orchestrator.selection import Choice, choose, equal_shares, greedy_shares
from shared.data.dataset import Dataset
from shared.data.splits import Split
from shared.training.inputs import Widths, columns_of
from shared.training.metrics import average_precision

BEST = "best"
"""The way that the others are compared with: the best trial's members alone."""


def choose_each(
    teams: Sequence[Team], labels: npt.NDArray[np.float32], folds: Sequence[Fold]
) -> dict[str, Choice]:
    """Choose the teams' shares in every way, on the rows of all folds.

    The ways are those of `ensemble.source`, and a kernel machine alone where there is one. What a
    choice holds of rows is in their ascending order.
    """
    n_trials = sum(team.trial is not None for team in teams)
    ways = {
        BEST: equal_shares(slice(0, 1)),
        "top": equal_shares(slice(0, n_trials)),
        "greedy": greedy_shares,
    }
    if n_trials < len(teams):
        ways["kernel"] = equal_shares(slice(n_trials, None))
    known = np.sort(np.concatenate([held_out for _, held_out in folds]))
    masks = [np.isin(known, held_out) for _, held_out in folds]
    predictions = np.stack([team.out_of_fold[known] for team in teams])
    return {
        way: choose(shares_of, predictions, labels[known], masks) for way, shares_of in ways.items()
    }


def measure_each(
    choices: Mapping[str, Choice],
    teams: Sequence[Team],
    vectors: npt.NDArray[np.float32],
    widths: Widths,
    dataset: Dataset,
    split: Split,
    seed: int,
) -> dict[str, Any]:
    """Return each way's weighted average precision, and its difference to the best trial's.

    `out_of_fold` is optimistic by the choice of shares, `nested` is not: each fold's shares were
    chosen on the other folds. The difference is that on the test rows, with a paired bootstrap's
    interval and p-value.
    """
    labels, test = dataset.labels, split.test
    known = np.sort(np.concatenate([split.train, split.valid]))
    said = np.stack(
        [_said(team, columns_of(team.encoders, widths, vectors[test])) for team in teams]
    )
    scores = {
        way: Scores(test, labels[test], np.average(said, axis=0, weights=choice.shares))
        for way, choice in choices.items()
    }

    def ap_weighted(rows: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> float:
        return average_precision(labels[rows], values, dataset.label_names).ap_weighted

    measured: dict[str, Any] = {
        way: {
            "out_of_fold": ap_weighted(known, choice.out_of_fold),
            "nested": ap_weighted(known, choice.nested),
            "test": ap_weighted(test, scores[way].probabilities),
        }
        for way, choice in choices.items()
    }
    for way in choices.keys() - {BEST}:
        compared = compare({way: scores[way], BEST: scores[BEST]}, seed)
        measured[way]["difference"] = asdict(compared.differences[BEST])
        measured[way]["p_value"] = compared.p_values[BEST]
    return measured


def _said(team: Team, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the (n, L) mean of a team's members' probabilities."""
    said: npt.NDArray[np.float32] = np.mean(
        [predict_vectors(member, vectors) for member in team.members], axis=0
    )
    return said
