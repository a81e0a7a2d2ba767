"""Measure the ensemble on the test split, beside logistic regression."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from orchestrator.ensemble import Ensemble
from orchestrator.predict import predict_vectors
from orchestrator.scores import Scores
from shared.data.splits import Split
from shared.training.metrics import average_precision

MAX_ITER = 1000
"""Iterations of the logistic regression; it needs some dozens on unit-length embeddings."""


def score(
    ensemble: Ensemble,
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    split: Split,
) -> dict[str, Scores]:
    """Let the ensemble, and what it is compared with, give their probabilities.

    `test`: the ensemble on the test rows; `out_of_fold`: the members on the rows that they did not
    train on; `logistic_regression`: one-vs-rest on the same embeddings, fitted on all rows but the
    test rows, on the test rows. A sweep that does not beat the last was not worth running.
    """
    test, known = split.test, np.sort(np.concatenate([split.train, split.valid]))
    baseline = logistic_regression(vectors[known], labels[known], vectors[test])
    return {
        "test": Scores(test, labels[test], predict_vectors(ensemble.members, vectors[test])),
        "out_of_fold": Scores(known, labels[known], ensemble.out_of_fold[known]),
        "logistic_regression": Scores(test, labels[test], baseline),
    }


def evaluate(scores: Mapping[str, Scores], label_names: tuple[str, ...]) -> dict[str, Any]:
    """Measure average precision of each of the scores, as plain values for JSON."""
    return {
        name: asdict(average_precision(one.labels, one.probabilities, label_names))
        for name, one in scores.items()
    }


def logistic_regression(
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    test_vectors: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Fit one-vs-rest logistic regression; return its (n_test, L) float32 probabilities."""
    model = LogisticRegression(max_iter=MAX_ITER)
    columns = [model.fit(vectors, label).predict_proba(test_vectors)[:, 1] for label in labels.T]
    return np.stack(columns, axis=1).astype(np.float32)
