"""Tell a table's label columns from its others, and say why the others are left out."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from orchestrator.data.class_column import looks_like_classes
from shared.errors import InputError

BINARY = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
"""What a label cell may say, spaces around it aside."""
WORDS = frozenset({"true", "false", "yes", "no", "t", "f", "y", "n"})
"""What people write in place of 1 and 0."""
LIST_MARKS = (";", "|", ",")
"""What parts the labels of a cell that lists several."""
FEW_SHARE = 0.1
"""Up to this share of its cells may be wrong in a column that is meant as a label."""
MAX_LISTS = 1000
"""How many cells are looked at for whether they list labels."""
MAX_NAMED = 20
"""How many columns are named that are left out."""


@dataclass(frozen=True)
class LeftOut:
    """A column that is not learnt from, and what it has or is instead of labels."""

    column: str
    why: str


def find_labels(
    table: pd.DataFrame, text_column: str, path: Path
) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
    """Return the columns that have only the values 0 and 1, and those that have not.

    Raises InputError where a column has but for a few cells, or where none has.
    """
    others = [name for name in table.columns if name != text_column]
    names = tuple(name for name in others if not _n_foreign(table[name]))
    foreign = [name for name in others if name not in names]
    for name in foreign:
        _require_no_slip(table[name], path)
    left_out = tuple(LeftOut(name, _describe(table[name])) for name in foreign)
    if not names:
        raise InputError(
            f"{path}: no column but the text has only the values 0 and 1:"
            f" {describe_left_out(left_out)}. {_cure(table, foreign)}"
        )
    return names, left_out


def require_binary(cells: "pd.Series[str]", path: Path, cure: str = "") -> None:
    """Raise InputError that names the first cell of a label's column that is not 0 or 1."""
    for row, cell in enumerate(cells, start=1):
        if cell.strip() not in BINARY:
            what = "nothing" if not cell.strip() else repr(cell)
            raise InputError(
                f"{path}, row {row}, column {cells.name!r}: a label must be 0 or 1, but is"
                f" {what}.{cure}"
            )


def _n_foreign(cells: "pd.Series[str]") -> int:
    return sum(n for cell, n in Counter(cells).items() if cell.strip() not in BINARY)


def _require_no_slip(cells: "pd.Series[str]", path: Path) -> None:
    """Refuse a column of 0 and 1 with a few cells that are neither: a label less is no answer."""
    n_foreign = _n_foreign(cells)
    if n_foreign <= FEW_SHARE * len(cells):
        require_binary(
            cells,
            path,
            f" Of its {len(cells)} cells {len(cells) - n_foreign} are: mend the others, or name the"
            " labels with --label-columns if this is none.",
        )


def _describe(cells: "pd.Series[str]") -> str:
    values = {cell.strip() for cell in cells}
    if values == {""}:
        return "empty"
    if _are_words(cells):
        shown = " and ".join(repr(value) for value in sorted(values) if value)
        return f"{shown} in place of 0 and 1"
    if _list_mark(cells):
        return "several labels a cell"
    if looks_like_classes(cells):
        return f"{len(values)} different values, like classes"
    return f"{len(values):,} different values"


def _are_words(cells: "pd.Series[str]") -> bool:
    return {cell.strip().lower() for cell in cells} - {""} <= WORDS


def _list_mark(cells: "pd.Series[str]") -> str | None:
    """Return what parts the labels in cells that list them: parts that come again and again."""
    for mark in LIST_MARKS:
        lists = [cell.strip("[] ").split(mark) for cell in cells[:MAX_LISTS]]
        parts = {part.strip(" '\"") for one in lists for part in one}
        if any(len(one) > 1 for one in lists) and 2 * len(parts) <= len(lists):
            return mark
    return None


def _division(cells: "pd.Series[str]") -> str:
    """Return the methods of pandas' that make a column of each label in cells that list them."""
    if cells.str.startswith("[").any():
        return ".map(ast.literal_eval).str.join('|').str.get_dummies()"
    mark = str(_list_mark(cells))
    is_spaced = cells.str.contains(f"{mark} ", regex=False).any()
    between = f"{mark} " if is_spaced else mark
    return f".str.get_dummies({between!r})"


def describe_left_out(left_out: Sequence[LeftOut]) -> str:
    """Name columns with what they have in common."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for one in left_out[:MAX_NAMED]:
        by_reason[one.why].append(repr(one.column))
    more = f", {len(left_out) - MAX_NAMED} more" if len(left_out) > MAX_NAMED else ""
    return ", ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items()) + more


def _cure(table: pd.DataFrame, names: Sequence[str]) -> str:
    if any(_are_words(table[name]) for name in names):
        return "Write the labels as 0 and 1."
    listing = next((name for name in names if _list_mark(table[name])), None)
    if listing is not None:
        return (
            "Write a column of 0 and 1 for each label: pandas'"
            f" table[{listing!r}]{_division(table[listing])} does."
        )
    classes = next((name for name in names if looks_like_classes(table[name])), "NAME")
    return (
        f"Name a column of classes with --class-column {shlex.quote(classes)}, or labels with"
        " --label-columns to see what is wrong with them. Quantities cannot be predicted (no"
        " regression)."
    )
