"""Measure by how much texts that come twice, hardly changed, flatter the figure of a test split."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from orchestrator.bundle.predict import predict_vectors
from orchestrator.data.dataset import Dataset
from orchestrator.data.duplicates import group_texts
from orchestrator.data.splits import make_folds, make_split
from orchestrator.ensemble.members import kernel_team
from orchestrator.evaluation.bootstrap import measure
from orchestrator.evaluation.scores import Scores
from shared.config.sections import DataConfig

N_TWINS = 1400
N_FOLDS = 5

Embed = Callable[[tuple[str, ...]], npt.NDArray[np.float32]]


def twins_inflation(
    dataset: Dataset, embed: Callable[[tuple[str, ...]], npt.NDArray[np.float32]], seed: int
) -> dict[str, float]:
    """Return what a kernel machine claims on the test rows, and on those without a twin."""
    dataset = with_twins(dataset, seed)
    vectors = embed(dataset.texts)
    groups = group_texts(dataset.texts, [vectors])
    split = make_split(dataset, groups, DataConfig(), seed)
    known = np.sort(np.concatenate([split.train, split.valid]))
    folds = make_folds(dataset, groups, known, N_FOLDS, seed)
    (model,) = kernel_team(("encoder",), vectors, dataset.labels, folds, "multilabel", seed).members
    probabilities = predict_vectors(model, vectors[split.test])
    seen = {dataset.texts[row].strip().lower() for row in known}
    is_new = np.array([dataset.texts[row].strip().lower() not in seen for row in split.test])
    alone = split.test[is_new]
    claimed = measure(Scores(split.test, dataset.labels[split.test], probabilities), "ap_weighted")
    true = measure(Scores(alone, dataset.labels[alone], probabilities[is_new]), "ap_weighted")
    return {
        "claimed": round(claimed, 4),
        "without_twins": round(true, 4),
        "twins": round(1 - float(is_new.mean()), 4),
    }


def with_twins(dataset: Dataset, seed: int) -> Dataset:
    """Return the data with some of its texts once more, in capitals or with a blank at the end."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(dataset.texts), N_TWINS, replace=False)
    twins = [
        text.upper() if is_upper else f"{text} "
        for text, is_upper in zip(
            (dataset.texts[row] for row in rows), rng.random(N_TWINS) < 1 / 2, strict=True
        )
    ]
    labels = np.concatenate([dataset.labels, dataset.labels[rows]])
    return replace(dataset, texts=(*dataset.texts, *twins), labels=labels)
