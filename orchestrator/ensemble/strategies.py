"""Say what each way of making the ensemble gives on rows that took no part in its choice."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from orchestrator.ensemble.members import Fold, Team
from orchestrator.ensemble.selection import Choice, choose, equal_shares, greedy_shares
from orchestrator.evaluation.bootstrap import measure
from orchestrator.evaluation.headline import Figure
from orchestrator.evaluation.scores import Scores

BEST = "best"
"""The way that is the default: the best trial's members alone."""


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
    labels: npt.NDArray[np.float32],
    known: npt.NDArray[np.int64],
    figure: Figure,
) -> dict[str, dict[str, float]]:
    """Return each way's figure on the known rows, ascending, of (n, L) labels.

    `out_of_fold` is optimistic by the choice of shares, `nested` is not: each fold's shares were
    chosen on the other folds. What heads stop early by are the rows that they are asked about, so
    both are slightly optimistic of them. No way is measured on the test rows but the one taken:
    what is chosen by them can no more be measured on them.
    """
    return {
        way: {
            "out_of_fold": measure(Scores(known, labels[known], choice.out_of_fold), figure),
            "nested": measure(Scores(known, labels[known], choice.nested), figure),
        }
        for way, choice in choices.items()
    }
