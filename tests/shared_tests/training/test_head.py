from dataclasses import replace
from typing import get_args

import keras
import numpy as np
import pytest

from shared.config import Optimizer
from shared.training.head import build_head, build_loss, build_optimizer, with_probabilities
from shared.training.params import HeadParams


def test_layers_follow_the_parameters(params: HeadParams) -> None:
    head = build_head(params, 8, 3, seed=1)
    dense = [layer for layer in head.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [16, 8, 3]
    dropout = [layer.rate for layer in head.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropout == [0.1, 0.0]


def test_batch_normalization_stands_before_each_activation(params: HeadParams) -> None:
    head = build_head(replace(params, batch_normalization=True), 8, 3, seed=1)
    kinds = [type(layer).__name__ for layer in head.layers]
    assert kinds[:3] == ["Dense", "BatchNormalization", "Activation"]
    assert kinds.count("BatchNormalization") == 2


def test_equal_seeds_give_equal_weights(params: HeadParams) -> None:
    first, same, other = (build_head(params, 8, 3, seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_layers_of_one_head_start_differently(params: HeadParams) -> None:
    layers = (params.layers[0], params.layers[0], params.layers[0])
    weights = build_head(replace(params, layers=layers), 16, 3, seed=1).get_weights()
    assert not np.array_equal(weights[0], weights[2])


@pytest.mark.parametrize("name", get_args(Optimizer))
def test_each_optimizer_takes_rate_and_decay(params: HeadParams, name: Optimizer) -> None:
    optimizer = build_optimizer(replace(params, optimizer=name, weight_decay=0.01))
    assert type(optimizer).__name__.lower() == name
    assert float(optimizer.learning_rate) == pytest.approx(1e-2)
    assert optimizer.weight_decay == 0.01


def test_the_losses_are_on_logits(params: HeadParams) -> None:
    truth, logits = np.array([[1.0, 0.0]]), np.array([[2.0, -1.0]])
    entropy = float(build_loss(params)(truth, logits))
    assert entropy == pytest.approx(np.mean(np.log1p(np.exp([-2.0, -1.0]))), rel=1e-5)
    focal = float(build_loss(replace(params, loss="focal"))(truth, logits))
    assert focal < entropy


def test_probabilities_are_the_sigmoid_of_the_logits(params: HeadParams) -> None:
    head = build_head(params, 8, 3, seed=1)
    x = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    expected = 1 / (1 + np.exp(-head(x).numpy()))
    np.testing.assert_allclose(with_probabilities(head)(x).numpy(), expected, rtol=1e-5)
