"""Fit what a sweep has to beat: logistic regression, as well regularised as it can be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from orchestrator.evaluation.bootstrap import measure
from orchestrator.evaluation.headline import Figure
from orchestrator.evaluation.scores import Scores
from shared.training.inputs import Fold
from shared.training.params import Task

MAX_ITER = 1000
"""Iterations of the logistic regression; it needs some dozens on unit-length embeddings."""
STEPS_A_DECADE = 2
"""Values of C that are tried between one and ten times as much."""
MAX_STEPS = 6
"""How far from where it starts C may go: three decades up or down."""
MAX_ROWS = 5000
"""Known rows that C is chosen on: so many tell it, and more would take longer than a search."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Regularisation:
    """scikit-learn's `C`, and whether inputs are standardised before."""

    C: float
    is_standardised: bool

    @property
    def description(self) -> str:
        """What it is, in a few words."""
        return f"C = {self.C:.3g}{', standardised' if self.is_standardised else ''}"


def tune(
    vectors: Floats, labels: Floats, folds: Sequence[Fold], task: Task, figure: Figure
) -> Regularisation:
    """Choose the regularisation of the highest figure out of fold, on up to MAX_ROWS rows.

    From C = 1 it goes up, or else down, for as long as that is better. Standardised inputs are
    sqrt(d) times as long as unit-length ones of d numbers: what is best for these, over d, is where
    C starts for them.
    """
    known = np.concatenate([held_out for _, held_out in folds])
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(known, min(len(known), MAX_ROWS), replace=False))

    def value_of(params: Regularisation) -> float:
        probabilities = np.zeros_like(labels)
        for train, held_out in folds:
            own, others = np.intersect1d(held_out, rows), np.intersect1d(train, rows)
            probabilities[own] = logistic_regression(
                vectors[others], labels[others], vectors[own], task, params
            )
        return measure(Scores(rows, labels[rows], probabilities[rows]), figure)

    plain = _climb(value_of, 1.0, is_standardised=False)
    standardised = _climb(value_of, plain[1].C / vectors.shape[1], is_standardised=True)
    return max(plain, standardised, key=lambda one: one[0])[1]


def logistic_regression(
    vectors: Floats, labels: Floats, new_vectors: Floats, task: Task, params: Regularisation
) -> Floats:
    """Fit logistic regression, one a label or multinomial; return (n_new, L) probabilities."""
    if params.is_standardised:
        scaler = StandardScaler().fit(vectors)
        vectors, new_vectors = scaler.transform(vectors), scaler.transform(new_vectors)
    model = LogisticRegression(C=params.C, max_iter=MAX_ITER)
    # Its steps are so small that threads wait for each other longer than they compute: on cores
    # that are shared, a hundred times as long.
    with threadpool_limits(1):
        if task == "multiclass":
            probabilities = np.zeros((len(new_vectors), labels.shape[1]), dtype=np.float32)
            model.fit(vectors, labels.argmax(axis=1))
            probabilities[:, model.classes_] = model.predict_proba(new_vectors)
            return probabilities
        # What all rows or none have, the new ones do.
        probabilities = np.tile(labels[:1], (len(new_vectors), 1))
        for i in np.flatnonzero(labels.min(axis=0) < labels.max(axis=0)):
            probabilities[:, i] = model.fit(vectors, labels[:, i]).predict_proba(new_vectors)[:, 1]
        return probabilities


def _climb(
    value_of: Callable[[Regularisation], float], start: float, is_standardised: bool
) -> tuple[float, Regularisation]:
    """Return the highest value found, and what has it."""

    def measured(step: int) -> tuple[float, Regularisation]:
        params = Regularisation(start * 10 ** (step / STEPS_A_DECADE), is_standardised)
        return value_of(params), params

    first = best = measured(0)
    for direction in (1, -1):
        for step in range(1, MAX_STEPS + 1):
            found = measured(direction * step)
            if found[0] <= best[0]:
                break
            best = found
        if best is not first:
            break
    return best
