from typing import Any

import numpy as np
import pytest
from keras import ops

from shared.training.program.dropout import dropout_keys, keep_mask, thresholds, unit_numbers

SEEDS = np.array([7, 8], dtype=np.uint32)


def _mask(n_rows: int, n_units: int, step: int = 0, rates: tuple[float, float] = (0.3, 0.3)) -> Any:
    steps = np.array([step, step], dtype=np.int32)
    keys = dropout_keys(ops.convert_to_tensor(SEEDS), ops.convert_to_tensor(steps), 2)
    limits = thresholds(ops.convert_to_tensor(np.float32(rates)))
    first = (key[:, 0] for key in keys)
    return ops.convert_to_numpy(keep_mask(*first, unit_numbers(n_rows, n_units), limits))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.6])
def test_units_drop_out_at_their_rate(rate: float) -> None:
    kept = _mask(512, 256, rates=(rate, rate))
    assert abs(kept.mean() - (1 - rate)) < 0.003
    assert np.abs(kept.mean(axis=1) - (1 - rate)).max() < 0.12


def test_no_unit_drops_out_with_its_neighbours() -> None:
    kept = _mask(1024, 64, rates=(0.5, 0.5))[0] - 0.5
    later = _mask(1024, 64, step=1, rates=(0.5, 0.5))[0] - 0.5
    for product in (kept[:, 1:] * kept[:, :-1], kept[1:] * kept[:-1], kept * later):
        assert abs(4 * product.mean()) < 0.02


def test_masks_differ_by_slot_step_and_layer() -> None:
    keys = dropout_keys(ops.convert_to_tensor(SEEDS), ops.convert_to_tensor(SEEDS * 0), 3)
    later = dropout_keys(ops.convert_to_tensor(SEEDS), ops.convert_to_tensor(SEEDS * 0 + 1), 3)
    everything = np.concatenate([ops.convert_to_numpy(part) for part in (*keys, *later)])
    assert len(np.unique(everything)) == everything.size


def test_a_mask_is_the_same_whatever_its_layer_is_padded_to() -> None:
    np.testing.assert_array_equal(_mask(16, 10), _mask(32, 24)[:, :16, :10])


def test_a_mask_is_the_same_on_every_backend() -> None:
    assert _mask(2, 8)[0].astype(int).tolist() == [
        [1, 1, 1, 1, 0, 0, 1, 1],
        [0, 1, 1, 0, 1, 1, 1, 0],
    ]


def test_a_layer_draws_the_same_however_many_follow_it() -> None:
    few, many = (
        dropout_keys(ops.convert_to_tensor(SEEDS), ops.convert_to_tensor(SEEDS * 0), n)
        for n in (1, 3)
    )
    for own, padded in zip(few, many, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(own), ops.convert_to_numpy(padded)[:, :1]
        )
