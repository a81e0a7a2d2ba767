"""Choose how much each team counts in the ensemble, by what they said out of fold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_ROUNDS = 50
"""Members that greedy selection draws; the mean changes by a fiftieth at the last."""
_CLOSEST = 1e-7
"""How near a probability comes to 0 or 1 before its logarithm is taken."""

Predictions = npt.NDArray[np.float32]
"""(C, n, L): the out-of-fold probabilities of C teams, the best trial's first."""
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Choice:
    """Hold the shares of C teams, and the (n, L) predictions that these give out of fold.

    `nested` are the same with shares for each fold that were chosen on the others, so that
    measuring them is not optimistic by the choice.
    """

    shares: tuple[float, ...]
    out_of_fold: Floats
    nested: Floats


SharesOf = Callable[[Predictions, Floats], Floats]
"""Gives C teams their shares, by their predictions and the (n, L) labels."""


def choose(
    shares_of: SharesOf,
    predictions: Predictions,
    labels: Floats,
    folds: Sequence[npt.NDArray[np.bool_]],
) -> Choice:
    """Choose shares by out-of-fold predictions; `folds` are (n,) bool masks of held-out rows."""
    shares = shares_of(predictions, labels)
    nested = np.empty_like(labels)
    for held_out in folds:
        others = shares_of(predictions[:, ~held_out], labels[~held_out])
        nested[held_out] = _mix(predictions[:, held_out], others)
    return Choice(tuple(shares.tolist()), _mix(predictions, shares), nested)


def equal_shares(teams: slice) -> SharesOf:
    """Return what gives these teams the same share each, and the others none."""

    def shares_of(predictions: Predictions, _labels: Floats) -> Floats:
        shares = np.zeros(len(predictions), dtype=np.float32)
        shares[teams] = 1 / len(shares[teams])
        return shares

    return shares_of


def greedy_shares(predictions: Predictions, labels: Floats) -> Floats:
    """Return the shares by greedy forward selection with replacement.

    Each round adds the team with which the mean of all drawn so far has the least binary
    cross-entropy; the shares are those of the best round. Caruana et al. 2004, "Ensemble selection
    from libraries of models", sections 2.1 and 2.2.
    """
    drawn = np.zeros(len(predictions))
    total = np.zeros_like(labels)
    best_loss, best = np.inf, drawn
    for n_drawn in range(1, MAX_ROUNDS + 1):
        losses = [_loss((total + one) / n_drawn, labels) for one in predictions]
        chosen = int(np.argmin(losses))
        drawn = drawn + np.eye(1, len(predictions), chosen)[0]
        total = total + predictions[chosen]
        if losses[chosen] < best_loss:
            best_loss, best = losses[chosen], drawn
    shares: Floats = (best / best.sum()).astype(np.float32)
    return shares


def _mix(predictions: Predictions, shares: Floats) -> Floats:
    mixed: Floats = np.tensordot(shares, predictions, axes=1)
    return mixed


def _loss(probabilities: Floats, labels: Floats) -> float:
    """Return the mean binary cross-entropy; of classes in one-hot rows, C times their own."""
    given = np.where(labels > 0, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(given, _CLOSEST)).mean())
