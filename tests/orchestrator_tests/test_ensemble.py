from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from orchestrator.ensemble import Ensemble, train_ensemble
from orchestrator.evaluate import default_head, evaluate, logistic_regression, score
from shared.data.splits import Split
from shared.errors import TagsweepError
from shared.sections import TrainingConfig
from shared.training.params import HeadParams, LayerParams
from workers import SearchArrays

PARAMS = HeadParams(
    layers=(LayerParams(16, "relu", 0.1),),
    batch_size=16,
    learning_rate=1e-2,
    optimizer="adam",
    weight_decay=0.0,
    batch_normalization=False,
    label_smoothing=0.0,
    loss="cross_entropy",
    focal_gamma=2.0,
)
KEY = "key"
ROWS = np.arange(120)
SPLIT = Split(ROWS[:100], ROWS[100:], np.arange(120, 160), "f")
FOLDS = [(np.setdiff1d(ROWS, ROWS[i::3]), ROWS[i::3]) for i in range(3)]


def _train(
    arrays: SearchArrays,
    store: Path,
    on_epoch: Callable[[int, int, float], None] = lambda *_: None,
    params: HeadParams = PARAMS,
    on_fold: Callable[[int, int], None] = lambda *_: None,
) -> Ensemble:
    training = TrainingConfig(max_epochs=15)
    return train_ensemble(
        params,
        arrays.vectors,
        arrays.labels,
        FOLDS,
        training,
        1,
        str(store),
        KEY,
        on_epoch,
        on_fold,
    )


@pytest.fixture(scope="module")
def ensemble(arrays: SearchArrays, tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    return _train(arrays, tmp_path_factory.mktemp("ensemble"))


def test_there_is_a_member_a_fold_each_different(ensemble: Ensemble) -> None:
    first, second, third = (member.get_weights()[0] for member in ensemble.members)
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def test_out_of_fold_probabilities_are_of_members_that_did_not_see_the_row(
    ensemble: Ensemble, arrays: SearchArrays
) -> None:
    for member, (_, held_out) in zip(ensemble.members, FOLDS, strict=True):
        expected = member(arrays.vectors[held_out]).numpy()
        np.testing.assert_allclose(ensemble.out_of_fold[held_out], expected, rtol=1e-5)
    assert np.isnan(ensemble.out_of_fold[120:]).all()


def test_finished_folds_are_not_trained_again(arrays: SearchArrays, tmp_path: Path) -> None:
    def die_when_one_is_done(n_done: int, _step: int, _value: float) -> None:
        if n_done == 1:
            raise KeyboardInterrupt

    slow_last = replace(PARAMS, learning_rate=3e-2)
    with pytest.raises(KeyboardInterrupt):
        _train(arrays, tmp_path, die_when_one_is_done, slow_last)
    folder = tmp_path / "ensemble" / KEY
    (finished,) = folder.iterdir()
    before = finished.read_bytes()
    kept: list[int] = []
    _train(arrays, tmp_path, params=slow_last, on_fold=lambda i, _epochs: kept.append(i))
    assert sorted([*kept, int(finished.stem[-1])]) == [0, 1, 2]
    assert finished.read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == [f"fold-{i}.keras" for i in range(3)]


def test_a_member_that_diverges_is_a_clear_error(arrays: SearchArrays, tmp_path: Path) -> None:
    wild = replace(PARAMS, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(TagsweepError, match="member ensemble/key/fold-..keras diverged"):
        _train(arrays, tmp_path, params=wild)


def test_the_evaluation_stands_beside_logistic_regression_and_the_default_head(
    ensemble: Ensemble, arrays: SearchArrays
) -> None:
    training = TrainingConfig(max_epochs=15)
    scores = score(ensemble, arrays.vectors, arrays.labels, SPLIT, PARAMS, training, 1)
    metrics = evaluate(scores, ("a", "b", "c"))
    assert set(metrics) == {"test", "out_of_fold", "logistic_regression", "default_head"}
    for measured in metrics.values():
        assert 0.8 < measured["ap_weighted"] <= 1
        assert set(measured["per_label"]) == {"a", "b", "c"}


def test_logistic_regression_gives_a_probability_a_label(arrays: SearchArrays) -> None:
    vectors, labels = arrays.vectors, arrays.labels
    probabilities = logistic_regression(vectors, labels, vectors[:7], "multilabel")
    assert probabilities.shape == (7, 3)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert (probabilities.sum(axis=1) != 1).any()


def test_the_classes_of_an_ensemble_and_a_logistic_regression_share_one_probability(
    class_arrays: SearchArrays, tmp_path: Path
) -> None:
    vectors, labels = class_arrays.vectors, class_arrays.labels
    ensemble = _train(class_arrays, tmp_path, params=replace(PARAMS, task="multiclass"))
    for probabilities in (
        ensemble.model(vectors[120:]).numpy(),
        logistic_regression(vectors[:120], labels[:120], vectors[120:], "multiclass"),
    ):
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        assert (probabilities.argmax(axis=1) == labels[120:].argmax(axis=1)).mean() > 0.8


def test_the_default_head_never_sees_the_test_rows(arrays: SearchArrays) -> None:
    def probabilities(labels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        training = TrainingConfig(max_epochs=3)
        return default_head(PARAMS, arrays.vectors, labels, SPLIT, training, 1)

    changed = arrays.labels.copy()
    changed[SPLIT.test] = 1 - changed[SPLIT.test]
    np.testing.assert_array_equal(probabilities(arrays.labels), probabilities(changed))
