"""Hold on the device what the heads of a pack consist of."""

from typing import Any, NamedTuple, TypeVar

from keras import ops

SlotArrays = TypeVar("SlotArrays", bound=tuple[Any, ...])
"""A tuple of arrays that have a row a slot."""


class Arrays(NamedTuple):
    """Hold what lies on the device, a row a slot.

    `first`, `second` and `product` are the optimizer's moments; `best` and `best_statistics` the
    weights and moving statistics of the best epoch; `order` (P, n_rows) int32 the rows of the pass.
    """

    weights: Any
    statistics: Any
    first: Any
    second: Any
    product: Any
    best: Any
    best_statistics: Any
    order: Any


def fresh_rows(weights: Any, statistics: Any, order: Any) -> Arrays:
    """Return the (1, ...) rows of a head before its first step."""
    blank = ops.zeros_like(weights)
    product = ops.ones_like(weights[:, :1])
    return Arrays(weights, statistics, blank, blank, product, weights, statistics, order)
