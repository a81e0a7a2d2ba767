"""Decide which units drop out: the same ones on every backend, device and pack.

Multiply-shift hashing (Dietzfelbinger et al. 1997, "A reliable randomized algorithm for the
closest-pair problem", section 3): a step draws an odd multiplier and an offset for each slot and
layer, and the unit's number, well mixed once, decides with them. So a mask depends on the trial's
seed alone, and neither on the slot that it is trained in nor on its neighbours; and it costs three
operations a unit.
"""

from typing import Any

from keras import ops

ROW_STRIDE = 1 << 16
"""Numbers of a row lie together; so a mask is the same whatever a layer is padded to."""
_STRIDE = 0x9E3779B9


def dropout_keys(seeds: Any, step: Any, n_layers: int) -> tuple[Any, Any]:
    """Derive odd multipliers and offsets from the slots' seeds and steps, both (P,) integers.

    Both are (P, n_layers) uint32.
    """
    draws = _count(2 * n_layers) * _uint32(_STRIDE)
    steps = _hash(_hash(seeds) + ops.cast(step, "uint32"))
    keys = _hash(steps[:, None] + draws[None, :])
    # In turn, so that a layer's are the same however many follow it.
    return ops.bitwise_or(keys[:, ::2], _uint32(1)), keys[:, 1::2]


def unit_numbers(n_rows: Any, n_units: Any) -> Any:
    """Return mixed numbers of a layer's units in each row of a batch: (1, n_rows, n_units)."""
    rows = _count(n_rows) * _uint32(ROW_STRIDE)
    return _hash(rows[:, None] + _count(n_units)[None, :])[None]


def thresholds(rates: Any) -> Any:
    """Return below which of 2**32 values a unit drops out, for float32 rates in [0, 1)."""
    return ops.cast(rates * 2.0**32, "uint32")


def keep_mask(multiplier: Any, offset: Any, numbers: Any, threshold: Any) -> Any:
    """Return a (P, n_rows, n_units) mask, true with probability 1 - rate.

    `multiplier` and `offset` (P,) are a layer's keys; `numbers` and `threshold` (P,) are what
    `unit_numbers` and `thresholds` gave.
    """
    drawn = numbers * multiplier[:, None, None] + offset[:, None, None]
    return drawn >= threshold[:, None, None]


def _hash(x: Any) -> Any:
    """Mix 32 bits: "lowbias32" of https://nullprogram.com/blog/2018/07/31/."""
    x = ops.bitwise_xor(x, ops.right_shift(x, _uint32(16))) * _uint32(0x7FEB352D)
    x = ops.bitwise_xor(x, ops.right_shift(x, _uint32(15))) * _uint32(0x846CA68B)
    return ops.bitwise_xor(x, ops.right_shift(x, _uint32(16)))


def _count(n: Any) -> Any:
    return ops.cast(ops.arange(n, dtype="int32"), "uint32")


def _uint32(value: int) -> Any:
    return ops.convert_to_tensor(value, dtype="uint32")
