"""Fit a kernel machine on embeddings: ridge regression in the feature space of an RBF kernel.

On a few thousand rows a smooth function of all distances to known texts ranks better than a small
network, and errs elsewhere. Shapes: n rows, d inputs, L labels, m landmarks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.special import expit, softmax

from orchestrator.ensemble.platt import fit_platt
from shared.training.params import Task

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

MAX_LANDMARKS = 4096
"""Known rows that the kernel compares with: all, or as many drawn at random (Nyström)."""
WIDTHS = (1.5, 3.0)
"""The kernel's exponent at the median squared distance."""
RIDGES = (0.3, 1.0, 3.0)
"""What is added to the features' covariance."""
BLOCK_ROWS = 4096
"""Rows at a time: bounds memory."""
_JITTER = 1e-6
"""What keeps landmarks that are alike from being divided by zero."""


@dataclass(frozen=True)
class KernelMachine:
    """Hold a model of (batch, d) embeddings to (batch, L) probabilities, fitted on all known rows.

    `out_of_fold` is (n, L): what machines fitted without a row's fold said of it, with width,
    ridge and what makes probabilities chosen on the other folds; NaN in rows outside all folds.
    """

    model: keras.Model
    out_of_fold: Floats


class _Kernel(NamedTuple):
    """Hold (m, d) landmarks, what a squared distance is multiplied by, and what whitens, (m, m)."""

    landmarks: Floats
    gamma: float
    whitening: Floats


class _Sums(NamedTuple):
    """Hold sums over rows: of features' products (m, m), with labels (m, L + 1), and of labels.

    The last column and the last number count the rows as a label that all have.
    """

    products: Floats
    with_labels: Floats
    labels: Floats


class _Fit(NamedTuple):
    """A kernel with one ridge's (m, L) coefficients, (L,) means, and (n, L) out-of-fold values."""

    kernel: _Kernel
    coefficients: Floats
    means: Floats
    values: Floats


def fit_kernel_machine(
    vectors: Floats,
    labels: Floats,
    folds: Sequence[tuple[Rows, Rows]],
    task: Task,
    seed: int,
) -> KernelMachine:
    """Fit on the rows of all folds, with the width and the ridge that err least out of fold.

    Williams & Seeger 2001, "Using the Nyström method to speed up kernel machines". The ridge
    regression's values become probabilities by a logistic regression on those said out of fold:
    Platt 1999, "Probabilistic outputs for support vector machines".
    """
    held_out = [rows for _, rows in folds]
    known = np.sort(np.concatenate(held_out))
    rng = np.random.default_rng(seed)
    drawn = rng.choice(known, min(len(known), MAX_LANDMARKS), replace=False)
    landmarks = _distinct(np.asarray(vectors[np.sort(drawn)], dtype=np.float32))
    fits = list(_fits(landmarks, vectors, labels, held_out))
    best = _best(fits, labels, known)
    slopes, offsets = fit_platt(best.values[known], labels[known], task)
    coefficients, means = best.coefficients * slopes, best.means * slopes + offsets
    return KernelMachine(
        _build(best.kernel, coefficients, means, task),
        _out_of_fold(fits, labels, held_out, task),
    )


def _fits(
    landmarks: Floats, vectors: Floats, labels: Floats, held_out: Sequence[Rows]
) -> Iterator[_Fit]:
    """Yield a fit for each width and ridge."""
    for width in WIDTHS:
        kernel = _kernel(landmarks, width)
        sums = [_sum_up(kernel, vectors, labels, rows) for rows in held_out]
        total = _Sums(*(np.sum(part, axis=0) for part in zip(*sums, strict=True)))
        for ridge in RIDGES:
            values = np.full(labels.shape, np.nan, dtype=np.float32)
            for rows, own in zip(held_out, sums, strict=True):
                others = _Sums(*(a - b for a, b in zip(total, own, strict=True)))
                values[rows] = _values(kernel, vectors, rows, *_solve(kernel, others, ridge))
            yield _Fit(kernel, *_solve(kernel, total, ridge), values)


def _best(fits: Sequence[_Fit], labels: Floats, rows: Rows) -> _Fit:
    """Return the fit whose out-of-fold values err least on some rows."""
    return min(fits, key=lambda fit: np.square(fit.values[rows] - labels[rows]).mean())


def _out_of_fold(
    fits: Sequence[_Fit], labels: Floats, held_out: Sequence[Rows], task: Task
) -> Floats:
    """Return (n, L) probabilities, each fold's by what is best for, and fitted to, the others."""
    probabilities = np.full(labels.shape, np.nan, dtype=np.float32)
    for i, rows in enumerate(held_out):
        others = np.concatenate([*held_out[:i], *held_out[i + 1 :]])
        values = _best(fits, labels, others).values
        slopes, offsets = fit_platt(values[others], labels[others], task)
        logits = values[rows] * slopes + offsets
        probabilities[rows] = expit(logits) if task == "multilabel" else softmax(logits, axis=1)
    return probabilities


def _distinct(vectors: Floats) -> Floats:
    """Return each row once: among copies the median distance says nothing."""
    _, first = np.unique(vectors, axis=0, return_index=True)
    return vectors[np.sort(first)]


def _kernel(landmarks: Floats, width: float) -> _Kernel:
    squares = _squared_distances(landmarks, landmarks)
    gamma = width / float(np.median(squares[np.triu_indices(len(squares), 1)]))
    likeness = np.exp(-gamma * squares.astype(np.float64))
    likeness[np.diag_indices_from(likeness)] += _JITTER
    lower = np.linalg.cholesky(likeness)
    inverse = solve_triangular(lower, np.eye(len(lower)), lower=True)
    return _Kernel(landmarks, gamma, inverse.astype(np.float32))


def _squared_distances(a: Floats, b: Floats) -> Floats:
    squares: Floats = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T
    return np.maximum(squares, 0)


def _likeness(kernel: _Kernel, vectors: Floats, rows: Rows) -> Iterator[tuple[Rows, Floats]]:
    """Yield rows in blocks, with their (b, m) likeness to the landmarks."""
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        own = np.asarray(vectors[block], dtype=np.float32)
        yield block, np.exp(-kernel.gamma * _squared_distances(own, kernel.landmarks))


def _sum_up(kernel: _Kernel, vectors: Floats, labels: Floats, rows: Rows) -> _Sums:
    m, n_labels = len(kernel.landmarks), labels.shape[1]
    products = np.zeros((m, m), dtype=np.float32)
    with_labels = np.zeros((m, n_labels + 1), dtype=np.float32)
    for block, likeness in _likeness(kernel, vectors, rows):
        features = likeness @ kernel.whitening.T
        products += features.T @ features
        with_labels += features.T @ _with_ones(labels[block])
    return _Sums(products, with_labels, _with_ones(labels[rows]).sum(axis=0))


def _with_ones(labels: Floats) -> Floats:
    return np.hstack([labels, np.ones((len(labels), 1), dtype=np.float32)])


def _solve(kernel: _Kernel, sums: _Sums, ridge: float) -> tuple[Floats, Floats]:
    """Return the (m, L) coefficients of likeness, and the (L,) means that they are added to."""
    means = sums.labels[:-1] / sums.labels[-1]
    target = sums.with_labels[:, :-1] - sums.with_labels[:, -1:] * means
    regular = sums.products + ridge * np.eye(len(sums.products), dtype=np.float32)
    found = cho_solve(cho_factor(regular, lower=True, overwrite_a=True), target)
    return kernel.whitening.T @ found, means


def _values(
    kernel: _Kernel, vectors: Floats, rows: Rows, coefficients: Floats, means: Floats
) -> Floats:
    parts = [one @ coefficients + means for _, one in _likeness(kernel, vectors, rows)]
    return np.concatenate(parts)


def _build(kernel: _Kernel, coefficients: Floats, offsets: Floats, task: Task) -> keras.Model:
    """Build the model of built-in layers: likeness to the landmarks, and what its sums say."""
    landmarks, gamma = kernel.landmarks, kernel.gamma
    m, n_inputs = landmarks.shape
    inputs = keras.Input((n_inputs,), dtype="float32")
    compare = keras.layers.Dense(m)
    activation = "sigmoid" if task == "multilabel" else "softmax"
    decide = keras.layers.Dense(coefficients.shape[1], activation=activation)
    squares = ops.sum(ops.square(inputs), axis=-1, keepdims=True)
    outputs = decide(ops.exp(compare(inputs) - gamma * squares))
    compare.set_weights([2 * gamma * landmarks.T, -gamma * np.square(landmarks).sum(axis=1)])
    decide.set_weights([coefficients, offsets])
    return keras.Model(inputs, outputs)
