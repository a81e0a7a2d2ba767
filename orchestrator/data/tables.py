"""Read a CSV into a table of strings, and name what is wrong with it, and where."""

import csv
import difflib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shared.errors import InputError

SEPARATORS = {"\t": ("tabs", "\\t"), ";": ("semicolons", ";")}
"""What tables are separated by instead of commas: in words, and as pandas takes it."""
OTHER_FORMATS = {
    b"PAR1": "is a Parquet file. Write it as a CSV: pandas.read_parquet(FILE).to_csv",
    b"PK\x03\x04": "is an Excel workbook or another ZIP archive. Save its table as CSV UTF-8",
    b"\x1f\x8b": "is compressed with gzip. Unpack it",
    b"\xff\xfe": "must be UTF-8, but is UTF-16. Save it as UTF-8",
    b"\xfe\xff": "must be UTF-8, but is UTF-16. Save it as UTF-8",
    b'{"': "is JSON. Write it as a CSV: pandas.read_json(FILE, lines=True).to_csv",
    b"[{": "is JSON. Write it as a CSV: pandas.read_json(FILE).to_csv",
}
"""What files begin with that are no CSV, and what can be done about it."""
MAX_KINDS = 20
"""A column with more different cells than these does not tell what a row of the file looks like."""


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV with a header: strings, the names of columns without the blanks around them.

    A blank line is no row, but where there is one column each line is one. Raises InputError that
    names the file, and the line of what is wrong.
    """
    _require_csv(path)
    csv.field_size_limit(sys.maxsize)  # a text may be longer than 131,072 characters
    with _opened(path) as file:
        found = _rows(csv.reader(file, strict=True), path)
        try:
            header = [name.strip() for name in next(found, [])]
            _require_header(header, path)
            rows = list(found)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}, line {_first_foreign_line(path)}: the file must be UTF-8, but is not:"
                f" {error.reason}. Save it as UTF-8."
            ) from error
    if not rows:
        raise InputError(f"{path} has a header but no rows.")
    return pd.DataFrame(rows, columns=header, dtype=str)


def require_column(table: pd.DataFrame, path: Path, name: str, cure: str = "") -> None:
    """Raise InputError where a table has no column of a name; `cure` says what else can be done."""
    if name in table.columns:
        return
    nearest = difflib.get_close_matches(name, table.columns, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    columns = ", ".join(map(repr, table.columns))
    raise InputError(f"{path} has no column {name!r}; it has {columns}.{hint}{cure}")


def require_closed_quotes(table: pd.DataFrame, path: Path, text_column: str) -> None:
    """Raise InputError where a text holds rows of the file, up to a later row's quote.

    They show by having a cell a column, and in each column of few different cells one of these. A
    single line of two fields may still be a text's own, such as `it was 3,1`.
    """
    known = _kinds(table, text_column)
    place = list(table.columns).index(text_column)
    has_lines = table[text_column].str.contains("[\r\n]") if known else pd.Series(dtype=bool)
    for row in np.flatnonzero(has_lines):
        cells = [str(cell) for cell in table.iloc[row]]
        first, *lines = cells[place].splitlines()
        parsed = [cells[:place] + _fields(first), *map(_fields, lines[:-1])]
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


def _opened(path: Path) -> Any:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder, but must be a CSV file.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _require_csv(path: Path) -> None:
    """Refuse what by its first bytes is a file of another format."""
    with _opened(path) as file:
        start = file.buffer.read(8).lstrip(b"\xef\xbb\xbf \r\n")
    for mark, what in OTHER_FORMATS.items():
        if start.startswith(mark):
            raise InputError(f"{path} {what}.")


def _require_header(header: Sequence[str], path: Path) -> None:
    if not header:
        raise InputError(f"{path} is empty: it has no header.")
    for separator, (words, escaped) in SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            raise InputError(
                f"{path} is separated by {words}, but must be by commas. Write it anew:"
                f" pandas.read_csv(FILE, sep='{escaped}').to_csv(OTHER, index=False)."
            )
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: the header names column {repeated[0]!r} more than once.")


def _rows(lines: Any, path: Path) -> Iterator[list[str]]:
    """Yield the header that a `csv.reader` gives, and the rows."""
    start, n_columns = 1, 0
    try:
        for row in lines:
            n_columns = n_columns or len(row)
            is_blank = len(row) < n_columns and not "".join(row).strip()
            if n_columns == 1 or not is_blank:
                fields = row or [""] * n_columns
                _require_fields(fields, n_columns, path, start)
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


def _require_fields(row: Sequence[str], n_columns: int, path: Path, line: int) -> None:
    if len(row) != n_columns:
        raise InputError(
            f"{path} is not a valid CSV: line {line} must have {n_columns} fields, as its header,"
            f" but has {len(row)}. Name every column, and quote texts that have commas in them."
        )


def _fields(line: str) -> list[str]:
    return next(csv.reader([line]), [])


def _first_foreign_line(path: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    raise AssertionError
