"""Measure the ensemble on the test split, beside logistic regression and the default head."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.bundle.predict import predict_vectors
from orchestrator.data.splits import Split
from orchestrator.ensemble.baselines import Regularisation, logistic_regression
from orchestrator.ensemble.fit import Job, fit
from orchestrator.ensemble.members import Ensemble
from orchestrator.evaluation.scores import Scores
from shared.config.sections import TrainingConfig
from shared.metrics import average_precision, class_quality
from shared.training.head import build_head, with_probabilities
from shared.training.matrix import Matrix
from shared.training.params import HeadParams, Task
from shared.training.trainer import Trainer


def score(
    ensemble: Ensemble,
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    split: Split,
    params: HeadParams,
    training: TrainingConfig,
    regularisation: Regularisation,
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
    baseline = logistic_regression(
        vectors[known], labels[known], vectors[test], params.task, regularisation
    )
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
    matrix = Matrix(vectors, labels, training.matrix_dtype)
    trainer = Trainer(matrix, training, 1, params.batch_size, len(params.layers))
    job = Job(0, params, seed, split.train, split.valid)
    (result,) = fit(trainer, [job], lambda _: None)
    head = build_head(params, vectors.shape[1], labels.shape[1], result.weights)
    return predict_vectors(with_probabilities(head, params.task), vectors[split.test])
