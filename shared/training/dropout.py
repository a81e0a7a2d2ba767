"""Decide which units drop out: the same ones on every backend, device and pack.

A counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): the
number of a unit and the key of its slot, step and layer are hashed. So a mask depends on the
trial's seed alone, and neither on the slot that it is trained in nor on its neighbours.
"""

from typing import Any

from keras import ops

ROW_STRIDE = 1 << 16
"""Counters of a row lie together; so a mask is the same whatever a layer is padded to."""
_LAYER_STRIDE = 0x9E3779B9


def dropout_keys(seeds: Any, step: Any, n_layers: int) -> Any:
    """Derive (P, n_layers) uint32 keys from the slots' seeds and steps, both (P,) integers."""
    layers = _count(n_layers) * _uint32(_LAYER_STRIDE)
    steps = _hash(_hash(seeds) + ops.cast(step, "uint32"))
    return _hash(steps[:, None] + layers[None, :])


def unit_counters(n_rows: Any, n_units: Any) -> Any:
    """Return the numbers of a layer's units in each row of a batch: (1, n_rows, n_units) uint32."""
    rows = _count(n_rows) * _uint32(ROW_STRIDE)
    return (rows[:, None] + _count(n_units)[None, :])[None]


def thresholds(rates: Any) -> Any:
    """Return below which of 2**32 bits a unit drops out, for float32 rates in [0, 1)."""
    return ops.cast(rates * 2.0**32, "uint32")


def keep_mask(keys: Any, counters: Any, threshold: Any) -> Any:
    """Return a (P, n_rows, n_units) mask, true with probability 1 - rate.

    `keys` (P,) uint32, and what `unit_counters` and `thresholds` gave, the latter (P,).
    """
    return _hash(ops.bitwise_xor(counters, keys[:, None, None])) >= threshold[:, None, None]


def _hash(x: Any) -> Any:
    """Mix 32 bits: "lowbias32" of https://nullprogram.com/blog/2018/07/31/."""
    x = ops.bitwise_xor(x, ops.right_shift(x, _uint32(16))) * _uint32(0x7FEB352D)
    x = ops.bitwise_xor(x, ops.right_shift(x, _uint32(15))) * _uint32(0x846CA68B)
    return ops.bitwise_xor(x, ops.right_shift(x, _uint32(16)))


def _count(n: Any) -> Any:
    return ops.cast(ops.arange(n, dtype="int32"), "uint32")


def _uint32(value: int) -> Any:
    return ops.convert_to_tensor(value, dtype="uint32")
