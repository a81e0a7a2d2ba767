"""Measure the ensemble on the test split, beside logistic regression."""

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from orchestrator.ensemble import Ensemble
from orchestrator.predict import predict_vectors
from shared.data.splits import Split
from shared.training.metrics import average_precision

MAX_ITER = 1000
"""Iterations of the logistic regression; it needs some dozens on unit-length embeddings."""


def evaluate(
    ensemble: Ensemble,
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    split: Split,
    label_names: tuple[str, ...],
) -> dict[str, Any]:
    """Measure average precision of three things, as plain values for JSON.

    `test`: the ensemble on the test rows; `out_of_fold`: the members on the rows that they did not
    train on; `logistic_regression`: one-vs-rest on the same embeddings, fitted on all rows but the
    test rows, on the test rows. A sweep that does not beat the last was not worth running.
    """
    known_rows = np.concatenate([split.train, split.valid])
    test_labels = labels[split.test]
    scores = {
        "test": (test_labels, predict_vectors(ensemble.members, vectors[split.test])),
        "out_of_fold": (labels[known_rows], ensemble.out_of_fold[known_rows]),
        "logistic_regression": (
            test_labels,
            logistic_regression(vectors[known_rows], labels[known_rows], vectors[split.test]),
        ),
    }
    return {
        name: asdict(average_precision(truth, probabilities, label_names))
        for name, (truth, probabilities) in scores.items()
    }


def logistic_regression(
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    test_vectors: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Fit one-vs-rest logistic regression; return its (n_test, L) probabilities."""
    model = OneVsRestClassifier(LogisticRegression(max_iter=MAX_ITER))
    model.fit(vectors, labels)
    probabilities: npt.NDArray[np.float64] = model.predict_proba(test_vectors)
    return probabilities
