"""Read the texts that a bundle is to predict on, and open what the predictions go to."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import pandas as pd

    from shared.config.sections import DataConfig


def read_given(*, text: str | None, files: Sequence[Path], stdin: str | None) -> list[str]:
    """Return the one text, or the lines of standard input; where there are files, none.

    Raises InputError where texts are given in no way or in several, one is empty or no UTF-8, or a
    file is not there.
    """
    from orchestrator.data.files import find_files
    from shared.errors import InputError

    if (text is not None) + bool(files) + (stdin == "-") != 1 or stdin not in {None, "-"}:
        raise InputError("Give the texts in one way: --text TEXT, --input FILE, or - for lines.")
    if files:
        find_files(files)
        return []
    lines: Iterable[bytes] = [os.fsencode(text)] if text is not None else sys.stdin.buffer
    texts = [_decode(number, line) for number, line in enumerate(lines, start=1)]
    blank = [number for number, one in enumerate(texts, start=1) if not one.strip()]
    if blank or not texts:
        place = f", but line {blank[0]} is" if blank and stdin == "-" else ""
        raise InputError(f"There must be at least one text, and none may be empty{place}.")
    return texts


def read_input(data: "DataConfig", given: Sequence[str]) -> "tuple[pd.DataFrame, tuple[str, ...]]":
    """Return the table of the files, or of the texts that are given instead, and its texts."""
    import pandas as pd

    from orchestrator.data.dataset import texts_of
    from orchestrator.data.tables import read_table

    if not data.csv:
        return pd.DataFrame({data.text_column: given}, dtype=str), tuple(given)
    table = read_table(data)
    return table.cells, texts_of(table, data.text_column)


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
