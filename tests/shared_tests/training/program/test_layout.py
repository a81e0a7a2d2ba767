from dataclasses import replace

import numpy as np
import pytest

from shared.training.head import Weights, initial_weights
from shared.training.params import HeadParams
from shared.training.program.layout import n_trained, to_rows, to_weights


@pytest.mark.parametrize("batch_normalization", [False, True])
@pytest.mark.parametrize("n_layers", [2, 4])
def test_weights_come_back_from_a_row_that_is_padded_with_units_and_layers(
    params: HeadParams, batch_normalization: bool, n_layers: int
) -> None:
    params = replace(params, batch_normalization=batch_normalization)
    weights = initial_weights(params, 8, 3, seed=1)
    wide, own = (8, *[32] * n_layers, 3), (8, 16, 8, 3)
    structure = replace(params.structure, n_layers=n_layers, has_gaps=n_layers > 2)
    trained, statistics = to_rows(weights, wide, structure)
    assert len(trained) == n_trained(wide, structure)
    back = to_weights(trained, statistics, wide, structure, own)
    for before, after in zip(weights, back, strict=True):
        np.testing.assert_array_equal(before, after)
    assert np.count_nonzero(trained) == sum(np.count_nonzero(w) for w in _trained(weights, params))


def _trained(weights: Weights, params: HeadParams) -> Weights:
    """Leave out the moving mean and variance of each normalised layer."""
    if not params.batch_normalization:
        return weights
    return [w for i, w in enumerate(weights) if i >= 12 or i % 6 < 4]
