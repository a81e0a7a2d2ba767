from dataclasses import replace

import keras
import numpy as np
import pytest

from shared.training.head import build_head, initial_weights
from shared.training.latency import forward, latency_ms
from shared.training.params import HeadParams, LayerParams


@pytest.mark.parametrize("batch_normalization", [False, True])
def test_the_pass_that_is_timed_is_the_heads(
    params: HeadParams, *, batch_normalization: bool
) -> None:
    layers = (*params.layers, LayerParams(4, "linear", 0.5))
    params = replace(params, layers=layers, batch_normalization=batch_normalization)
    rng = np.random.default_rng(0)
    weights = [
        (array + rng.uniform(0.1, 0.5, array.shape)).astype(np.float32)
        for array in initial_weights(params, 8, 3, seed=1)
    ]
    rows = rng.normal(size=(5, 8)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(build_head(params, 8, 3, weights)(rows))
    np.testing.assert_allclose(forward(params, weights, rows), expected, rtol=1e-4, atol=1e-5)


def test_a_head_of_a_thousand_times_the_size_takes_longer(params: HeadParams) -> None:
    wide = replace(params, layers=(LayerParams(2048, "relu", 0.0),) * 2)
    small_ms, wide_ms = (
        latency_ms(head, initial_weights(head, 8, 3, seed=1)) for head in (params, wide)
    )
    assert 0 < small_ms < wide_ms
