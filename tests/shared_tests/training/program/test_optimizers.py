from typing import Any, get_args

import keras
import numpy as np
import pytest
from keras import ops

from shared.training.params import Optimizer
from shared.training.program.optimizers import Moments, apply_gradients

N_STEPS = 6


def _keras_steps(name: Optimizer, rate: float, decay: float, first, gradients) -> Any:
    settings = {"learning_rate": rate, "weight_decay": decay}
    optimizer = keras.optimizers.get({"class_name": name, "config": settings})
    variable = keras.Variable(first)
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
    return ops.convert_to_numpy(variable.value)


@pytest.mark.parametrize("name", get_args(Optimizer))
def test_each_row_moves_as_by_kerass_optimizer_with_its_own_rates(name: Optimizer) -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(2, 5)).astype(np.float32)
    gradients = rng.normal(size=(N_STEPS, 2, 5)).astype(np.float32)
    rates, decays = np.float32([[1e-2], [1e-3]]), np.float32([[0.01], [0.1]])
    weights = ops.convert_to_tensor(first)
    moments = Moments(ops.zeros((2, 5)), ops.zeros((2, 5)), ops.ones((2, 1)))
    for i, gradient in enumerate(gradients):
        step = np.full((2, 1), i + 1, np.float32)
        weights, moments = apply_gradients(
            name, weights, ops.convert_to_tensor(gradient), moments, step, rates, decays
        )
    for slot in range(2):
        expected = _keras_steps(
            name, float(rates[slot, 0]), float(decays[slot, 0]), first[slot], gradients[:, slot]
        )
        np.testing.assert_allclose(ops.convert_to_numpy(weights)[slot], expected, rtol=2e-6)
