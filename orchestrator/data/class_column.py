"""Read a column that names each row's class, and tell it from one of quantities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from orchestrator.data.formulas import inert
from orchestrator.data.tables import place
from shared.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MAX_NUMBERS = 20
"""More different numbers than these are quantities, if they have fractions or are rare."""
MIN_ROWS_PER_NUMBER = 10
"""Rows that each of many whole numbers needs on average to be taken for a class."""


def class_names(cells: "pd.Series[str]", source: str) -> tuple[str, ...]:
    """Return the different classes of a column, in order: whole numbers by size, else by name.

    Raises InputError when a cell is empty, all are the same, or they are quantities.
    """
    names = _stripped(cells)
    different = set(names)
    if len(different) == 1:
        raise InputError(
            f"{source}: column {cells.name!r} is {names[0]!r} in every row, so there is nothing to"
            " learn. Add rows of other classes."
        )
    if _are_quantities(names):
        raise InputError(
            f"{source}: column {cells.name!r} has {len(different)} different numbers, but classes"
            " are what can be learnt: quantities cannot be predicted (no regression). Make classes"
            " of them (pandas.cut), or name another column."
        )
    if all(name.isdecimal() for name in different):
        return tuple(sorted(different, key=lambda name: (int(name), name)))
    return tuple(sorted(different))


def one_hot(cells: "pd.Series[str]", names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return (n, C) float32: 1 where a cell names the class, or did before it was made inert.

    Raises InputError when a cell is empty or names a class that is not among `names`.
    """
    numbers = {cell: i for i, name in enumerate(names) for cell in (name, inert(name))}
    labels = np.zeros((len(cells), len(names)), dtype=np.float32)
    for row, cell in enumerate(_stripped(cells)):
        if cell not in numbers:
            raise InputError(
                f"{place(cells, row)}: {cell!r} is none of the known classes,"
                f" {', '.join(map(repr, names))}."
            )
        labels[row, numbers[cell]] = 1
    return labels


def looks_like_classes(cells: "pd.Series[str]") -> bool:
    """Say whether a column repeats a few values, as classes do."""
    values = [cell.strip() for cell in cells]
    n_different = len(set(values))
    repeats = 1 < n_different <= len(values) // 2
    return repeats and all(values) and not _are_quantities(values)


def _stripped(cells: "pd.Series[str]") -> list[str]:
    values = [cell.strip() for cell in cells]
    if not all(values):
        raise InputError(f"{place(cells, values.index(''))}: the class is empty.")
    return values


def _are_quantities(values: Sequence[str]) -> bool:
    """Say whether values are numbers of which too many differ to be classes."""
    try:
        numbers = [float(value) for value in set(values)]
    except ValueError:
        return False
    if len(numbers) <= MAX_NUMBERS:
        return False
    have_fractions = not all(number.is_integer() for number in numbers)
    return have_fractions or len(values) < MIN_ROWS_PER_NUMBER * len(numbers)
