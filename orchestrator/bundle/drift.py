"""Say whether new data differs from what a bundle was trained on: in its labels, in its texts.

Its rows must be of distinct texts, as those of the reference are: both tests take them for
independent, and copies are as like each other as can be, so that they alone would be drift.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import pdist, squareform
from scipy.stats import fisher_exact

from orchestrator.bundle.reference import MAX_VECTORS, Reference

N_PERMUTATIONS = 999


@dataclass(frozen=True)
class LabelDrift:
    """Hold the shares of rows with a label, and how probable such a difference is by chance."""

    training_share: float
    new_share: float
    p_value: float


@dataclass(frozen=True)
class TextDrift:
    """Hold the squared maximum mean discrepancy of two samples of embeddings, and its p-value."""

    mmd2: float
    p_value: float
    n_training: int
    n_new: int


def label_drift(
    reference: Reference, labels: npt.NDArray[np.float32], label_names: Sequence[str]
) -> dict[str, LabelDrift]:
    """Compare the share of each label among (n, L) new rows with that among the training rows.

    Fisher's exact test of two proportions, two-sided, with Holm's correction for L labels (Holm
    1979, "A simple sequentially rejective multiple test procedure"), so that all p-values may be
    held against one level. It takes rows for independent, but not labels: classes are compared
    alike.
    """
    n = len(labels)
    counts = labels.sum(axis=0).astype(int)
    tables = [
        [[known, reference.n_rows - known], [new, n - new]]
        for known, new in zip(reference.positives, counts, strict=True)
    ]
    p_values = holm([float(fisher_exact(table).pvalue) for table in tables])
    return {
        name: LabelDrift(float(known / reference.n_rows), float(new / n), p_value)
        for name, known, new, p_value in zip(
            label_names, reference.positives, counts, p_values, strict=True
        )
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down procedure, in the order given."""
    n = len(p_values)
    adjusted, running = [0.0] * n, 0.0
    for rank, i in enumerate(sorted(range(n), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (n - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def text_drift(reference: Reference, vectors: npt.NDArray[np.float32], seed: int) -> TextDrift:
    """Compare (n, d) new embeddings with those of the training data, up to 1,000 of each.

    Maximum mean discrepancy with a Gaussian kernel as wide as the median distance, and a
    permutation test (Gretton et al. 2012, "A Kernel Two-Sample Test", JMLR 13). The squared
    discrepancy is the biased estimate: 0 for equal samples, at most 2.
    """
    rng = np.random.default_rng(seed)
    if len(vectors) > MAX_VECTORS:
        vectors = vectors[rng.choice(len(vectors), MAX_VECTORS, replace=False)]
    n_known, n_new = len(reference.vectors), len(vectors)
    kernel = _gaussian_kernel(np.concatenate([reference.vectors, vectors]))
    weights = np.repeat([1 / n_known, -1 / n_new], [n_known, n_new])
    permuted = rng.permuted(np.tile(weights, (N_PERMUTATIONS, 1)), axis=1)
    values = ((permuted @ kernel) * permuted).sum(axis=1)
    found = float(weights @ kernel @ weights)
    n_as_large = np.count_nonzero(values >= found)
    return TextDrift(found, float((1 + n_as_large) / (1 + N_PERMUTATIONS)), n_known, n_new)


def _gaussian_kernel(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return (m, m) similarities in (0, 1] of m vectors."""
    squares = pdist(vectors, "sqeuclidean")
    median = np.median(squares) or 1.0
    kernel: npt.NDArray[np.float64] = squareform(np.exp(-squares / (2 * median)))
    return kernel + np.eye(len(vectors))
