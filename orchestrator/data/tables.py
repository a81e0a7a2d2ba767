"""Read files into a table of strings, and name what is wrong with them, and where."""

import csv
import difflib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.data.files import decode, find_files, read_bytes
from orchestrator.data.typed_tables import is_json, read_arrow, read_json_lines
from shared.config.sections import DataConfig
from shared.errors import InputError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
"""What the fields of a CSV are separated by, as data.separator names it."""
N_TRIED = 100
"""Rows that tell what separates them, where the header does not."""
MAX_KINDS = 20
"""A column with more different cells than these does not tell what a row of the file looks like."""


@dataclass(frozen=True)
class Table:
    """The rows of one or several files, as strings.

    `cells` is indexed by each row's file and its number there, from 1 after the header; `source`
    names the files, and `form` says what they are.
    """

    cells: pd.DataFrame
    source: str
    form: str


def read_table(config: DataConfig) -> Table:
    """Read the configured files: strings, the names of columns without the blanks around them.

    Of a CSV a blank line is no row, but where there is one column each line is one. Raises
    InputError that names the file, and the line of what is wrong.
    """
    paths = find_files(config.csv)
    frames, forms = zip(*(_read_file(path, config) for path in paths), strict=True)
    for path, frame in zip(paths, frames, strict=True):
        _require_same_columns(frame, path, frames[0], paths[0])
    columns = list(frames[0].columns)
    cells = pd.concat([frame[columns] for frame in frames], keys=[str(path) for path in paths])
    form = f"{len(paths)} files: " * (len(paths) > 1) + "; ".join(dict.fromkeys(forms))
    return Table(cells, ", ".join(map(str, config.csv)), form)


def place(cells: "pd.Series[str]", row: int) -> str:
    """Say where the cell of a row, counted from 0, is: its file, its row there and its column."""
    file, number = cells.index[row]
    return f"{file}, row {number}, column {cells.name!r}"


def require_column(table: pd.DataFrame, source: str, name: str, cure: str = "") -> None:
    """Raise InputError where a table has no column of a name; `cure` says what else can be done."""
    if name in table.columns:
        return
    nearest = difflib.get_close_matches(name, table.columns, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    columns = ", ".join(map(repr, table.columns))
    raise InputError(f"{source} has no column {name!r}; it has {columns}.{hint}{cure}")


def require_closed_quotes(table: pd.DataFrame, path: Path, text_column: str, mark: str) -> None:
    """Raise InputError where a text of a CSV holds rows of it, up to a later row's quote.

    They show by having a cell a column, and in each column of few different cells one of these. A
    single line of two fields may still be a text's own, such as `it was 3,1`.
    """
    known = _kinds(table, text_column)
    position = list(table.columns).index(text_column)
    has_lines = table[text_column].str.contains("[\r\n]") if known else pd.Series(dtype=bool)
    for row in np.flatnonzero(has_lines):
        cells = [str(cell) for cell in table.iloc[row]]
        first, *lines = cells[position].splitlines()
        parsed = [next(csv.reader([line], delimiter=mark), []) for line in (first, *lines[:-1])]
        parsed[0] = cells[:position] + parsed[0]
        are_rows = all(
            len(fields) == len(cells) and all(fields[i] in kinds for i, kinds in known.items())
            for fields in parsed
        )
        if are_rows and (len(cells) > 2 or len(parsed) > 1):  # noqa: PLR2004  see above
            raise InputError(
                f"{path}, row {row + 1}, column {text_column!r}: the text runs on into later rows,"
                " because the quote that opens it is not closed. Close it, or double it"
                ' ("") where it belongs to the text.'
            )


def _kinds(table: pd.DataFrame, text_column: str) -> dict[int, set[str]]:
    """Return the different cells of each column that has few, by the column's place."""
    found = {}
    for i, name in enumerate(table.columns):
        kinds = set(table[name]) if name != text_column else set()
        if 0 < len(kinds) <= min(MAX_KINDS, len(table) // 2):
            found[i] = kinds
    return found


def _read_file(path: Path, config: DataConfig) -> tuple[pd.DataFrame, str]:
    """Return the rows of a file, numbered from 1, and what the file is in words."""
    content, is_packed = read_bytes(path)
    frame, form = read_arrow(content, path) or _read_text(content, path, config)
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    _require_header(list(frame.columns), path)
    if frame.empty:
        raise InputError(f"{path} has a header but no rows.")
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame, f"{form}, gzip" if is_packed else form


def _read_text(content: bytes, path: Path, config: DataConfig) -> tuple[pd.DataFrame, str]:
    text, encoding = decode(content, config.encoding, path)
    if is_json(text, path):
        return read_json_lines(text, path), f"JSON lines, {encoding}"
    csv.field_size_limit(sys.maxsize)  # a text may be longer than 131,072 characters
    separator = config.separator or _find_separator(text, path)
    mark = SEPARATORS[separator]
    rows = _rows(_reader(text, mark), path, separator)
    header = [name.strip() for name in next(rows, [])]
    _require_header(header, path)
    frame = pd.DataFrame(rows, columns=header, dtype=str)
    if config.text_column in frame.columns:
        require_closed_quotes(frame, path, config.text_column, mark)
    return frame, f"CSV, {encoding}, separated by {separator}s"


def _reader(text: str, mark: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)


def _find_separator(text: str, path: Path) -> str:
    """Return what parts the header; where more could, what parts the rows just as it does."""
    possible = [name for name in SEPARATORS if _parts(text, name, 1)]
    if len(possible) > 1:
        fitting = [name for name in possible if _parts(text, name, N_TRIED)]
        if len(fitting) != 1:
            raise InputError(
                f"{path} may be separated by {' or by '.join(f'{name}s' for name in possible)}."
                f" Say by which with --separator (data.separator): {' or '.join(possible)}."
            )
        return fitting[0]
    return possible[0] if possible else "comma"


def _parts(text: str, separator: str, n_rows: int) -> bool:
    """Say whether a separator makes of each of the first rows the same fields, two or more."""
    try:
        rows = islice(_reader(text, SEPARATORS[separator]), n_rows)
        widths = {len(row) for row in rows if "".join(row).strip()}
    except csv.Error:
        return False
    return len(widths) == 1 and widths != {1}


def _require_same_columns(
    frame: pd.DataFrame, path: Path, first: pd.DataFrame, first_path: Path
) -> None:
    for one, other in ((first.columns, frame.columns), (frame.columns, first.columns)):
        differ = one.difference(other)
        if len(differ):
            has = "has no column" if one is first.columns else "also has column"
            raise InputError(
                f"{path} must have the columns of {first_path}, but {has} {differ[0]!r}."
            )


def _require_header(header: Sequence[str], path: Path) -> None:
    if not header:
        raise InputError(f"{path} is empty: it has no header.")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: the header names column {repeated[0]!r} more than once.")


def _rows(lines: Any, path: Path, separator: str) -> Iterator[list[str]]:
    """Yield the header that a `csv.reader` gives, and the rows."""
    start, n_columns = 1, 0
    try:
        for row in lines:
            n_columns = n_columns or len(row)
            is_blank = len(row) < n_columns and not "".join(row).strip()
            if n_columns == 1 or not is_blank:
                fields = row or [""] * n_columns
                place_of_row = f"{path} is not a valid CSV: line {start}"
                _require_fields(fields, n_columns, place_of_row, separator)
                yield fields
            start = lines.line_num + 1
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise InputError(
                f"{path} is not a valid CSV: the quote that opens in line {start} is never closed."
            ) from error
        raise InputError(
            f"{path} is not a valid CSV: {error} in line {lines.line_num}. Double the quotes that"
            ' belong to a quoted text ("").'
        ) from error


def _require_fields(row: Sequence[str], n_columns: int, line: str, separator: str) -> None:
    if len(row) != n_columns:
        raise InputError(
            f"{line} must have {n_columns} fields, as its header, but has {len(row)}. Name every"
            f" column, and quote texts that have {separator}s in them; fields are separated by"
            " --separator (data.separator)."
        )
