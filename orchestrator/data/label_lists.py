"""Read a column that lists each row's labels: `a;b;c`, or a list as JSON or Python writes it."""

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from orchestrator.data.tables import place
from orchestrator.data.typed_tables import as_cell
from shared.errors import InputError

MARKS = (";", "|", ",")
"""What parts the labels of a cell that is no list in brackets."""
MAX_LISTS = 1000
"""How many cells are looked at for whether they list labels."""


def lists_labels(cells: "pd.Series[str]") -> bool:
    """Say whether a column's cells list labels: parts that come again and again."""
    for mark in MARKS:
        lists = [cell.strip("[] ").split(mark) for cell in cells[:MAX_LISTS]]
        parts = {part.strip(" '\"") for one in lists for part in one}
        if any(len(one) > 1 for one in lists) and 2 * len(parts) <= len(lists):
            return True
    return False


def read_label_lists(cells: "pd.Series[str]", source: str) -> tuple[list[frozenset[str]], str]:
    """Return each row's labels, of which it may have none, and how they are listed, in words.

    Raises InputError where more than one mark could part them, or a list in brackets is none.
    """
    is_list = [cell.strip().startswith("[") for cell in cells]
    plain = [cell for cell, in_brackets in zip(cells, is_list, strict=True) if not in_brackets]
    marks = [mark for mark in MARKS if any(mark in cell for cell in plain)]
    if len(marks) > 1:
        raise InputError(
            f"{source}: the labels in column {cells.name!r} may be separated by"
            f" {' or by '.join(map(repr, marks))}. Leave one of them, or write each cell as a JSON"
            ' list: ["a", "b"].'
        )
    mark = marks[0] if marks else None
    rows = [
        _in_brackets(cells, row) if in_brackets else cell.split(mark) if mark else [cell]
        for row, (cell, in_brackets) in enumerate(zip(cells, is_list, strict=True))
    ]
    forms = ["as lists"] * any(is_list) + [f"separated by {mark!r}"] * bool(mark)
    labels = [frozenset(label.strip() for label in row) - {""} for row in rows]
    return labels, " or ".join(forms) or "one a cell"


def label_matrix(
    cells: "pd.Series[str]", rows: Sequence[frozenset[str]], names: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Return (n, L) float32: 1 where a row lists a label; raises InputError for an unknown one."""
    numbers = {name: i for i, name in enumerate(names)}
    labels = np.zeros((len(rows), len(names)), dtype=np.float32)
    for row, listed in enumerate(rows):
        unknown = sorted(listed - numbers.keys())
        if unknown:
            raise InputError(
                f"{place(cells, row)}: {unknown[0]!r} is none of the known labels,"
                f" {', '.join(map(repr, names))}."
            )
        labels[row, [numbers[name] for name in listed]] = 1
    return labels


def _in_brackets(cells: "pd.Series[str]", row: int) -> list[str]:
    """Return the labels of a list; NumPy's, without commas, would be read as one label."""
    cell = cells.iloc[row]
    try:
        found = json.loads(cell)
    except ValueError:
        found = None if re.search(r"""['"]\s+['"]""", cell) else _python_value(cell)
    if not isinstance(found, list):
        raise InputError(
            f"{place(cells, row)}: a list must be as JSON or Python writes it, such as"
            f' ["a", "b"], but is {cell[:60]}.'
        )
    return [as_cell(label) for label in found]


def _python_value(cell: str) -> Any:
    try:
        return ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        return None
