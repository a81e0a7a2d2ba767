from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from orchestrator.ensemble import baselines
from orchestrator.ensemble.baselines import Regularisation, logistic_regression, tune
from orchestrator.evaluation.bootstrap import measure
from orchestrator.evaluation.scores import Scores
from workers import SearchArrays

PLAIN = Regularisation(C=1, is_standardised=False)
FOLDS = [
    (np.setdiff1d(np.arange(300), np.arange(i, 300, 3)), np.arange(i, 300, 3)) for i in (0, 1, 2)
]


def _clusters(noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return short vectors, whose label is a small part of their length, as embeddings' may be."""
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 2)) < 0.3).astype(np.float32)
    vectors = rng.normal(size=(400, 16)).astype(np.float32) / 4
    vectors[:, :2] = 0.02 * (labels + noise * rng.normal(size=labels.shape))
    return vectors, labels


def test_what_is_told_in_short_directions_takes_less_regularisation_or_standardising() -> None:
    vectors, labels = _clusters(noise=0.3)
    found = tune(vectors, labels, FOLDS, "multilabel", "ap_weighted")
    assert found.C > 1 or found.is_standardised
    figures = []
    for params in (PLAIN, found):
        said = logistic_regression(vectors[:300], labels[:300], vectors[300:], "multilabel", params)
        figures.append(measure(Scores(np.arange(100), labels[300:], said), "ap_weighted"))
    assert figures[1] > figures[0] + 0.1


def test_rows_outside_all_folds_choose_nothing() -> None:
    vectors, labels = _clusters(noise=1.0)
    found = tune(vectors, labels, FOLDS, "multilabel", "ap_macro")
    labels[300:] = 1 - labels[300:]
    assert tune(vectors, labels, FOLDS, "multilabel", "ap_macro") == found


def test_a_part_of_many_rows_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_ROWS", 120)
    vectors, labels = _clusters(noise=0.3)
    labels[10:, 1] = 0
    found = tune(vectors, labels, FOLDS, "multilabel", "ap_weighted")
    assert found.C > 1 or found.is_standardised


def test_a_label_that_no_row_has_is_not_given(arrays: SearchArrays) -> None:
    vectors, labels = arrays.vectors, arrays.labels.copy()
    labels[:, 2] = 0
    said = logistic_regression(vectors, labels, vectors[:7], "multilabel", PLAIN)
    assert (said[:, 2] == 0).all()
    assert (said[:, :2] > 0).all()


def test_it_is_told_in_a_few_words() -> None:
    assert PLAIN.description == "C = 1"
    assert Regularisation(0.0316, is_standardised=True).description == "C = 0.0316, standardised"


def test_no_threads_wait_for_each_other(
    arrays: SearchArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, n_threads = LogisticRegression.fit, []

    def watched(*args: Any) -> LogisticRegression:
        n_threads.extend(one["num_threads"] for one in threadpool_info())
        return fit(*args)

    monkeypatch.setattr(LogisticRegression, "fit", watched)
    with threadpool_limits(2):
        logistic_regression(arrays.vectors, arrays.labels, arrays.vectors, "multilabel", PLAIN)
    assert set(n_threads) == {1}


def test_labels_have_a_probability_each(arrays: SearchArrays) -> None:
    vectors, labels = arrays.vectors, arrays.labels
    probabilities = logistic_regression(vectors, labels, vectors[:7], "multilabel", PLAIN)
    assert probabilities.shape == (7, 3)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert (probabilities.sum(axis=1) != 1).any()


@pytest.mark.parametrize("is_standardised", [False, True])
def test_classes_share_one_probability(class_arrays: SearchArrays, is_standardised: bool) -> None:
    vectors, labels = class_arrays.vectors, class_arrays.labels
    params = Regularisation(1.0, is_standardised)
    said = logistic_regression(vectors[:120], labels[:120], vectors[120:], "multiclass", params)
    np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-5)
    assert (said.argmax(axis=1) == labels[120:].argmax(axis=1)).mean() > 0.8


def test_a_class_without_a_row_to_fit_to_has_probability_0(class_arrays: SearchArrays) -> None:
    vectors, labels = class_arrays.vectors, class_arrays.labels
    rows = np.flatnonzero(labels[:, 1] == 0)
    said = logistic_regression(vectors[rows], labels[rows], vectors[:5], "multiclass", PLAIN)
    assert said.shape == (5, labels.shape[1])
    np.testing.assert_array_equal(said[:, 1], 0)
