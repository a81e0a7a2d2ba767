from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from shared.training.head import (
    build_head,
    from_embeddings,
    initial_weights,
    with_probabilities,
)
from shared.training.inputs import columns_of, find_reading
from shared.training.params import HeadParams, InputParams, LayerParams, Task
from tests.shared_tests.training.conftest import WIDTHS
from workers import SearchArrays


def test_layers_follow_the_parameters(params: HeadParams) -> None:
    head = build_head(params, 8, 3, initial_weights(params, 8, 3, seed=1))
    dense = [layer for layer in head.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [16, 8, 3]
    dropout = [layer.rate for layer in head.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropout == [0.1, 0.0]


@pytest.mark.parametrize("batch_normalization", [False, True])
def test_first_weights_are_distributed_as_kerass_own(
    params: HeadParams, batch_normalization: bool
) -> None:
    layers = (LayerParams(300, "relu", 0.0), LayerParams(200, "relu", 0.0))
    params = replace(params, layers=layers, batch_normalization=batch_normalization)
    ours = initial_weights(params, 400, 100, seed=1)
    head = build_head(params, 400, 100, ours)
    theirs = keras.Sequential.from_config(head.get_config()).get_weights()
    for mine, keras_own in zip(ours, theirs, strict=True):
        assert mine.shape == keras_own.shape
        assert np.abs(mine).max() == pytest.approx(np.abs(keras_own).max(), rel=0.01)
        assert mine.std() == pytest.approx(keras_own.std(), rel=0.05)


def test_batch_normalization_stands_before_each_activation(params: HeadParams) -> None:
    params = replace(params, batch_normalization=True)
    head = build_head(params, 8, 3, initial_weights(params, 8, 3, seed=1))
    kinds = [type(layer).__name__ for layer in head.layers]
    assert kinds[:3] == ["Dense", "BatchNormalization", "Activation"]
    assert kinds.count("BatchNormalization") == 2


def test_equal_seeds_give_equal_weights(params: HeadParams) -> None:
    first, same, other = (initial_weights(params, 8, 3, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("task", "expected"),
    [("multilabel", expit), ("multiclass", lambda logits: softmax(logits, axis=1))],
)
def test_probabilities_are_the_sigmoid_or_the_softmax_of_the_logits(
    params: HeadParams, task: Task, expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    head = build_head(params, 8, 3, initial_weights(params, 8, 3, seed=1))
    x = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    logits = keras.ops.convert_to_numpy(head(x))
    probabilities = keras.ops.convert_to_numpy(with_probabilities(head, task)(x))
    np.testing.assert_allclose(probabilities, expected(logits), rtol=1e-5)


@pytest.mark.parametrize(
    "inputs",
    [
        InputParams(("second",), standardize=True),
        InputParams(("first", "second"), l2_normalize=True),
        InputParams(("first", "second"), l2_normalize=True, standardize=True),
    ],
)
def test_a_head_behind_its_reading_takes_embeddings_as_they_come(
    params: HeadParams, inputs: InputParams, arrays: SearchArrays, tmp_path: Path
) -> None:
    x = arrays.vectors
    reading = find_reading(inputs, WIDTHS, x, arrays.folds[0][0])
    read = reading(x)
    head = build_head(params, read.shape[1], 3, initial_weights(params, read.shape[1], 3, seed=1))
    from_embeddings(head, reading).save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras", compile=False, safe_mode=True)
    own = columns_of(inputs.encoders, WIDTHS, x)
    logits, expected = (keras.ops.convert_to_numpy(y) for y in (loaded(own), head(read)))
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_a_head_that_reads_embeddings_as_they_are_has_nothing_before_it(
    params: HeadParams, arrays: SearchArrays
) -> None:
    head = build_head(params, 8, 3, initial_weights(params, 8, 3, seed=1))
    reading = find_reading(InputParams(), WIDTHS, arrays.vectors, arrays.folds[0][0])
    assert from_embeddings(head, reading) is head
