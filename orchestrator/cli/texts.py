"""Read the texts that a bundle is to predict on, and open what the predictions go to."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import pandas as pd


def read_input(*, text: str | None, csv: Path | None, stdin: str | None) -> "pd.DataFrame":
    """Read the one source that was given: a CSV as it is, or texts in a column of any name."""
    import pandas as pd

    from orchestrator.data.tables import read_table
    from shared.errors import InputError

    if (text is not None) + (csv is not None) + (stdin == "-") != 1 or stdin not in {None, "-"}:
        raise InputError("Give the texts in one way: --text TEXT, --input CSV, or - for lines.")
    if csv is not None:
        return read_table(csv)
    lines: Iterable[bytes] = [os.fsencode(text)] if text is not None else sys.stdin.buffer
    texts = [_decode(number, line) for number, line in enumerate(lines, start=1)]
    blank = [number for number, one in enumerate(texts, start=1) if not one.strip()]
    if blank or not texts:
        place = f", but line {blank[0]} is" if blank and stdin == "-" else ""
        raise InputError(f"There must be at least one text, and none may be empty{place}.")
    return pd.DataFrame({"text": texts}, dtype=str)


def texts_in(table: "pd.DataFrame", csv: Path | None, column: str) -> tuple[str, ...]:
    """Return a table's texts; those that were given alone get their column's name here."""
    from orchestrator.data.dataset import texts_of

    if csv is not None:
        return texts_of(table, csv, column)
    table.columns = [column]
    return tuple(table[column])


@contextmanager
def written(output: Path | None) -> Iterator[TextIO]:
    """Yield the file that results go to: standard output, if there is none."""
    if output is None:
        yield sys.stdout
    else:
        with output.open("w", encoding="utf-8", newline="") as file:
            yield file


def _decode(number: int, line: bytes) -> str:
    from shared.errors import InputError

    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"Text {number} must be UTF-8, but is not: {error.reason}.") from error
