from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
from keras import ops
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import average_precision_score, log_loss

from orchestrator.ensemble import kernel
from orchestrator.ensemble.kernel import KernelMachine, fit_kernel_machine

Floats = npt.NDArray[np.float32]
N = 200
FOLDS = [(np.flatnonzero(np.arange(N) % 4 != i), np.arange(i, N, 4)) for i in range(4)]


@pytest.fixture(scope="module")
def points() -> tuple[Floats, Floats]:
    """Return points of the plane, and whether they lie in a ring and right of the middle."""
    vectors = np.random.default_rng(0).normal(size=(N + 40, 2)).astype(np.float32)
    radius = np.linalg.norm(vectors, axis=1)
    labels = np.stack([(radius > 0.7) & (radius < 1.6), vectors[:, 0] > 0], axis=1)
    return vectors, labels.astype(np.float32)


@pytest.fixture(scope="module")
def machine(points: tuple[Floats, Floats]) -> KernelMachine:
    return fit_kernel_machine(*points, FOLDS, "multilabel", 0)


def _say(model: keras.Model, vectors: Floats) -> Floats:
    return np.asarray(ops.convert_to_numpy(model(vectors)))


def test_it_learns_what_no_line_divides(
    points: tuple[Floats, Floats], machine: KernelMachine
) -> None:
    vectors, labels = points
    said = _say(machine.model, vectors[N:])
    assert average_precision_score(labels[N:], said) > 0.9
    assert average_precision_score(labels[:N], machine.out_of_fold[:N]) > 0.9
    assert np.isnan(machine.out_of_fold[N:]).all()


def test_probabilities_are_near_the_share_of_labels(
    points: tuple[Floats, Floats], machine: KernelMachine
) -> None:
    shares = points[1][:N].mean(axis=0)
    np.testing.assert_allclose(machine.out_of_fold[:N].mean(axis=0), shares, atol=0.02)


def test_with_all_rows_as_landmarks_it_is_kernel_ridge_regression(
    points: tuple[Floats, Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "RIDGES", (0.3,))
    monkeypatch.setattr(kernel, "WIDTHS", (1.5,))
    vectors, labels = points
    found = fit_kernel_machine(vectors, labels, FOLDS, "multilabel", 0)
    squares = kernel._squared_distances(vectors[:N], vectors[:N])
    gamma = 1.5 / np.median(squares[np.triu_indices(N, 1)])
    means = labels[:N].mean(axis=0)
    theirs = KernelRidge(alpha=0.3, kernel="rbf", gamma=gamma).fit(vectors[:N], labels[:N] - means)
    scores = theirs.predict(vectors[N:]) + means
    last = found.model.layers[-1]
    likeness = _say(keras.Model(found.model.input, last.input), vectors[N:])
    logits = likeness @ last.get_weights()[0] + last.get_weights()[1]
    for ours, score in zip(logits.T, scores.T, strict=True):
        assert np.corrcoef(ours, score)[0, 1] > 0.9999


def test_a_row_is_told_without_its_own_label(points: tuple[Floats, Floats]) -> None:
    vectors, labels = points
    changed = labels.copy()
    changed[0] = 1 - changed[0]
    one, other = (
        fit_kernel_machine(vectors, y, FOLDS, "multilabel", 0).out_of_fold[0]
        for y in (labels, changed)
    )
    np.testing.assert_allclose(one, other, atol=0.05)


def test_fewer_landmarks_than_rows_do_nearly_as_well(
    points: tuple[Floats, Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "MAX_LANDMARKS", 60)
    monkeypatch.setattr(kernel, "BLOCK_ROWS", 7)
    found = fit_kernel_machine(*points, FOLDS, "multilabel", 0)
    assert len(found.model.get_weights()[1]) == 60
    assert average_precision_score(points[1][N:], _say(found.model, points[0][N:])) > 0.85


def test_a_text_that_most_rows_have_is_one_landmark(points: tuple[Floats, Floats]) -> None:
    vectors, labels = points[0].copy(), points[1].copy()
    vectors[40:N], labels[40:N] = vectors[0], labels[0]
    found = fit_kernel_machine(vectors, labels, FOLDS, "multilabel", 0)
    assert len(found.model.get_weights()[1]) == 40
    assert average_precision_score(labels[:40], found.out_of_fold[:40]) > 0.7


@pytest.fixture(scope="module")
def noise() -> Floats:
    return np.random.default_rng(0).normal(size=(N, 16)).astype(np.float32)


def test_out_of_fold_labels_without_signal_are_not_told(noise: Floats) -> None:
    labels = (np.random.default_rng(1).random((N, 20)) < 0.15).astype(np.float32)
    found = fit_kernel_machine(noise, labels, FOLDS, "multilabel", 0)
    claimed = average_precision_score(labels, found.out_of_fold, average="macro")
    assert claimed < labels.mean() + 0.02


def test_out_of_fold_classes_without_signal_are_not_told(noise: Floats) -> None:
    labels = np.eye(20, dtype=np.float32)[np.random.default_rng(1).permutation(N) % 20]
    found = fit_kernel_machine(noise, labels, FOLDS, "multiclass", 0)
    assert log_loss(labels, found.out_of_fold) > np.log(20)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_of_classes_the_probabilities_add_up_to_1(
    points: tuple[Floats, Floats], n_classes: int
) -> None:
    vectors = points[0]
    truth = np.digitize(vectors[:, 0], [0, 0.8][: n_classes - 1])
    labels = np.eye(n_classes, dtype=np.float32)[truth]
    found = fit_kernel_machine(vectors, labels, FOLDS, "multiclass", 0)
    said = _say(found.model, vectors[N:])
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-5)
    assert (said.argmax(axis=1) == truth[N:]).mean() > 0.85


def test_the_model_loads_without_tagsweep_in_safe_mode(
    points: tuple[Floats, Floats], machine: KernelMachine, tmp_path: Path
) -> None:
    machine.model.save(tmp_path / "machine.keras")
    loaded = keras.models.load_model(tmp_path / "machine.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(_say(loaded, points[0]), _say(machine.model, points[0]))
