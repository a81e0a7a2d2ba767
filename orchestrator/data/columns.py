"""Tell a table's label columns from its others, and say why the others are left out."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from orchestrator.data.class_column import looks_like_classes
from orchestrator.data.label_lists import lists_labels
from orchestrator.data.tables import place
from shared.errors import InputError

NUMBERS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
"""What a label cell says, spaces around it aside."""
WORDS = (("true", "false"), ("yes", "no"), ("t", "f"), ("y", "n"))
"""What people and programs write in place of 1 and 0, in whatever case; one pair a column."""
FEW_SHARE = 0.1
"""Up to this share of its cells may be wrong in a column that is meant as a label."""
MAX_NAMED = 20
"""How many columns are named that are left out."""


@dataclass(frozen=True)
class LeftOut:
    """A column that is not learnt from, and what it has or is instead of labels."""

    column: str
    why: str


def find_labels(
    table: pd.DataFrame, text_column: str, source: str
) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
    """Return the columns that have only the values 0 and 1, or words for them, and the others.

    Of words there must be both: a column that says `no` throughout may be of anything. Raises
    InputError where a column has 0 and 1 but for a few cells, or where none has.
    """
    others = [name for name in table.columns if name != text_column]
    names = tuple(name for name in others if _is_label(table[name]))
    foreign = [name for name in others if name not in names]
    for name in foreign:
        _require_no_slip(table[name])
    left_out = tuple(LeftOut(name, _describe(table[name])) for name in foreign)
    if not names:
        raise InputError(
            f"{source}: no column but the text has only the values 0 and 1:"
            f" {describe_left_out(left_out)}. {_cure(table, foreign)}"
        )
    return names, left_out


def label_values(cells: "pd.Series[str]", cure: str = "") -> npt.NDArray[np.float32]:
    """Return (n,) float32 of 0 and 1; raises InputError that names the first cell of neither."""
    numbers = _numbers(cells)
    known = {cell: numbers.get(_plain(cell), np.nan) for cell in cells.unique()}
    values = cells.map(known).to_numpy(np.float32)
    foreign = np.flatnonzero(np.isnan(values))
    if len(foreign):
        cell = cells.iloc[foreign[0]]
        what = repr(cell) if cell.strip() else "nothing"
        expected = "0 or 1" if numbers is NUMBERS else " or ".join(numbers)
        raise InputError(
            f"{place(cells, foreign[0])}: a label must be {expected}, but is {what}.{cure}"
        )
    return values


def describe_words(table: pd.DataFrame, names: Sequence[str]) -> str:
    """Say what is taken for 1 and 0 in which columns that have words for them; "": in none."""
    columns: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        numbers = _numbers(table[name])
        if numbers is not NUMBERS:
            columns[tuple(numbers)].append(repr(name))
    return "; ".join(
        f"{yes} = 1, {no} = 0 in {'all labels' if len(of) == len(names) else ', '.join(of)}"
        for (yes, no), of in columns.items()
    )


def describe_left_out(left_out: Sequence[LeftOut]) -> str:
    """Name columns with what they have in common."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for one in left_out[:MAX_NAMED]:
        by_reason[one.why].append(repr(one.column))
    more = f", {len(left_out) - MAX_NAMED} more" if len(left_out) > MAX_NAMED else ""
    return ", ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items()) + more


def _plain(cell: str) -> str:
    return cell.strip().lower()


def _counts(cells: "pd.Series[str]") -> Counter[str]:
    """Count the cells that say the same."""
    counts: Counter[str] = Counter()
    for cell, n in cells.value_counts().items():
        counts[_plain(str(cell))] += n
    return counts


def _numbers(cells: "pd.Series[str]") -> Mapping[str, float]:
    """Return what the cells of a column say: 0 and 1, or the words that more of them are."""
    counts = _counts(cells)
    spellings = [NUMBERS, *({yes: 1.0, no: 0.0} for yes, no in WORDS)]
    return max(spellings, key=lambda words: sum(counts[word] for word in words))


def _is_label(cells: "pd.Series[str]") -> bool:
    return not _n_foreign(cells) and _may_be_label(cells)


def _may_be_label(cells: "pd.Series[str]") -> bool:
    numbers = _numbers(cells)
    return numbers is NUMBERS or set(numbers) <= set(_counts(cells))


def _n_foreign(cells: "pd.Series[str]") -> int:
    numbers = _numbers(cells)
    return sum(n for cell, n in _counts(cells).items() if cell not in numbers)


def _require_no_slip(cells: "pd.Series[str]") -> None:
    """Refuse a column of 0 and 1 with a few cells that are neither: a label less is no answer."""
    n_foreign = _n_foreign(cells)
    if n_foreign <= FEW_SHARE * len(cells) and _may_be_label(cells):
        label_values(
            cells,
            f" Of its {len(cells)} cells {len(cells) - n_foreign} are: mend the others, or name the"
            " labels with --label-columns if this is none.",
        )


def _describe(cells: "pd.Series[str]") -> str:
    values = {str(cell).strip() for cell in cells.unique()}
    if values == {""}:
        return "empty"
    if len(values) == 1:
        return f"{values.pop()!r} in every row"
    if lists_labels(cells):
        return "several labels a cell"
    if looks_like_classes(cells):
        return f"{len(values)} different values, like classes"
    return f"{len(values):,} different values"


def _cure(table: pd.DataFrame, names: Sequence[str]) -> str:
    listing = next((name for name in names if lists_labels(table[name])), None)
    if listing is not None:
        return f"Name the column that lists labels: --list-column {shlex.quote(listing)}."
    classes = next((name for name in names if looks_like_classes(table[name])), "NAME")
    return (
        f"Name a column of classes with --class-column {shlex.quote(classes)}, or labels with"
        " --label-columns to see what is wrong with them. Quantities cannot be predicted (no"
        " regression)."
    )
