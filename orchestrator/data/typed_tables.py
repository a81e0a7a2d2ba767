"""Read JSON lines, Parquet and Arrow, whose cells have types, as a CSV would have them."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shared.errors import InputError

PARQUET = b"PAR1"
"""What a Parquet file begins with (https://parquet.apache.org/docs/file-format)."""
ARROW_FILE, ARROW_STREAM = b"ARROW1", b"\xff\xff\xff\xff"
"""What an Arrow file and an Arrow stream, as Hugging Face's `datasets` keeps, begin with
(https://arrow.apache.org/docs/format/Columnar.html)."""


def read_arrow(content: bytes, path: Path) -> tuple[pd.DataFrame, str] | None:
    """Return the table of a Parquet or Arrow file as strings, and its form; None: it is neither."""
    try:
        if content.startswith(PARQUET):
            return _as_strings(pq.read_table(pa.BufferReader(content))), "Parquet"
        if content.startswith(ARROW_FILE):
            return _as_strings(pa.ipc.open_file(content).read_all()), "Arrow"
        if content.startswith(ARROW_STREAM):
            return _as_strings(pa.ipc.open_stream(content).read_all()), "Arrow"
    except (pa.ArrowException, OSError) as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise InputError(f"{path} is damaged: {why}. Copy or write it anew.") from error
    return None


def is_json(text: str, path: Path) -> bool:
    """Say whether a text is JSON lines; raises InputError where it is one JSON array."""
    if re.match(r"\s*\[\s*\{", text):
        raise InputError(
            f"{path} is one JSON array, but must have an object in each line. Write it anew:"
            " pandas.read_json(FILE).to_json(OTHER, orient='records', lines=True)."
        )
    return re.match(r'\s*\{\s*["}]', text) is not None


def read_json_lines(text: str, path: Path) -> pd.DataFrame:
    """Return the objects of JSON lines (https://jsonlines.org) as rows of strings.

    What an object does not have is an empty cell. A blank line is no row. Raises InputError with
    the line that is no object.
    """
    rows = [
        _json_row(line, f"{path}, line {number}")
        for number, line in enumerate(io.StringIO(text), start=1)
        if line.strip()
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [as_cell(row.get(name)) for row in rows] for name in names}
    return pd.DataFrame(columns, dtype=str)


def as_cell(value: Any) -> str:
    """Return a value as a CSV has it; lists and objects as JSON, and what is missing as nothing."""
    if value is None or value != value:  # noqa: PLR0124  only NaN differs from itself
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _as_strings(table: pa.Table) -> pd.DataFrame:
    columns = [[as_cell(value) for value in column.to_pylist()] for column in table.columns]
    frame = pd.DataFrame(dict(enumerate(columns)), dtype=str)
    return frame.set_axis(table.column_names, axis="columns")


def _json_row(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        line.encode()
        json.dumps(row, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise InputError(
            f"{place}: each line must be a JSON object, but {error.msg} at character {error.colno}."
        ) from error
    except UnicodeEncodeError as error:
        raise InputError(
            f"{place}: an escape of the form \\ud83d is half a character. Write its other half, or"
            " drop it."
        ) from error
    if not isinstance(row, dict):
        raise InputError(f"{place}: each line must be a JSON object, but is {line.strip()[:40]}.")
    return row
