"""Measure the ensemble on the test split, beside logistic regression and the default head."""

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
from shared.sections import TrainingConfig
from shared.training.fit import Job, fit
from shared.training.head import build_head, with_probabilities
from shared.training.matrix import Matrix
from shared.training.metrics import average_precision, class_quality
from shared.training.params import HeadParams, Task
from shared.training.trainer import Trainer

MAX_ITER = 1000
"""Iterations of the logistic regression; it needs some dozens on unit-length embeddings."""


def score(
    ensemble: Ensemble,
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    split: Split,
    params: HeadParams,
    training: TrainingConfig,
    seed: int,
) -> dict[str, Scores]:
    """Let the ensemble, and what it is compared with, give their probabilities.

    `test`: the ensemble on the test rows; `out_of_fold`: the members on the rows that they did not
    train on; `logistic_regression`: one a label, or a multinomial one of classes, on the same
    embeddings, fitted on all rows but the test rows, on the test rows; `default_head`: one head of
    `params`, as a trial would train it, on the test rows. A sweep that does not beat the last two
    was not worth running.
    """
    test, known = split.test, np.sort(np.concatenate([split.train, split.valid]))
    probabilities = predict_vectors(ensemble.model.predict_on_batch, vectors[test])
    baseline = logistic_regression(vectors[known], labels[known], vectors[test], params.task)
    return {
        "test": Scores(test, labels[test], probabilities),
        "out_of_fold": Scores(known, labels[known], ensemble.out_of_fold[known]),
        "logistic_regression": Scores(test, labels[test], baseline),
        "default_head": Scores(
            test, labels[test], default_head(params, vectors, labels, split, training, seed)
        ),
    }


def evaluate(
    scores: Mapping[str, Scores], label_names: tuple[str, ...], task: Task = "multilabel"
) -> dict[str, Any]:
    """Measure average precision of each of the scores, as plain values for JSON.

    Of classes also the most probable ones, see `class_quality`.
    """
    return {
        name: asdict(average_precision(one.labels, one.probabilities, label_names))
        | (class_quality(one.labels, one.probabilities) if task == "multiclass" else {})
        for name, one in scores.items()
    }


def logistic_regression(
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    test_vectors: npt.NDArray[np.float32],
    task: Task,
) -> npt.NDArray[np.float32]:
    """Fit logistic regression, one a label or multinomial; return (n_test, L) probabilities."""
    model = LogisticRegression(max_iter=MAX_ITER)
    if task == "multiclass":
        found = model.fit(vectors, labels.argmax(axis=1)).predict_proba(test_vectors)
        return np.asarray(found, dtype=np.float32)
    columns = [model.fit(vectors, label).predict_proba(test_vectors)[:, 1] for label in labels.T]
    return np.stack(columns, axis=1).astype(np.float32)


def default_head(
    params: HeadParams,
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    split: Split,
    training: TrainingConfig,
    seed: int,
) -> npt.NDArray[np.float32]:
    """Train one head on the train rows, stopped on the valid rows; return (n_test, L) float32.

    One that diverges is taken as it was at its best.
    """
    trainer = Trainer(
        Matrix(vectors, labels, training.matrix_dtype), training, 1, params.batch_size
    )
    job = Job(0, params, seed, split.train, split.valid)
    (result,) = fit(trainer, [job], lambda _: None)
    head = build_head(params, vectors.shape[1], labels.shape[1], result.weights)
    return predict_vectors(with_probabilities(head, params.task), vectors[split.test])
