"""Fit what a sweep has to beat: logistic regression, as well regularised as it can be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from orchestrator.bootstrap import measure
from orchestrator.headline import Figure
from orchestrator.scores import Scores
from shared.data.splits import Fold
from shared.training.params import Task

MAX_ITER = 1000
"""Iterations of the logistic regression; it needs some dozens on unit-length embeddings."""
STEPS_A_DECADE = 2
"""Values of C that are tried between one and ten times as much."""
MAX_STEPS = 6
"""How far from where it starts C may go: three decades up or down."""

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
    """Choose the regularisation of the highest figure out of fold.

    From C = 1, or as much for each of d standardised inputs, which are sqrt(d) times as long as
    unit-length ones, C goes up, or else down, for as long as that is better.
    """
    known = np.sort(np.concatenate([held_out for _, held_out in folds]))

    def value_of(params: Regularisation) -> float:
        said = np.empty_like(labels)
        for train, held_out in folds:
            said[held_out] = logistic_regression(
                vectors[train], labels[train], vectors[held_out], task, params
            )
        return measure(Scores(known, labels[known], said[known]), figure)

    found = [
        _climb(value_of, start, is_standardised)
        for start, is_standardised in ((1.0, False), (1 / vectors.shape[1], True))
    ]
    return max(found, key=lambda one: one[0])[1]


def logistic_regression(
    vectors: Floats, labels: Floats, new_vectors: Floats, task: Task, params: Regularisation
) -> Floats:
    """Fit logistic regression, one a label or multinomial; return (n_new, L) probabilities."""
    if params.is_standardised:
        scaler = StandardScaler().fit(vectors)
        vectors, new_vectors = scaler.transform(vectors), scaler.transform(new_vectors)
    model = LogisticRegression(C=params.C, max_iter=MAX_ITER)
    if task == "multiclass":
        said = np.zeros((len(new_vectors), labels.shape[1]), dtype=np.float32)
        model.fit(vectors, labels.argmax(axis=1))
        said[:, model.classes_] = model.predict_proba(new_vectors)
        return said
    columns = [model.fit(vectors, one).predict_proba(new_vectors)[:, 1] for one in labels.T]
    return np.stack(columns, axis=1).astype(np.float32)


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
