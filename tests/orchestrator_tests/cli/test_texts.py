import io
import os
import sys
from pathlib import Path

import pytest

from orchestrator.cli.texts import read_given, read_input
from shared.config.sections import DataConfig
from shared.errors import InputError


@pytest.mark.parametrize(
    ("text", "lines", "message"),
    [
        (os.fsdecode(b"caf\xe9"), b"", "Text 1 must be UTF-8"),
        (None, b"tea\r\ncaf\xe9\n", "Text 2 must be UTF-8"),
        (None, b"tea\n \nsea\n", "none may be empty, but line 2 is"),
        (None, b"", "must be at least one text"),
    ],
)
def test_a_text_that_cannot_be_read_is_named(
    text: str | None, lines: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    with pytest.raises(InputError, match=message):
        read_given(text=text, files=[], stdin=None if text else "-")


def test_lines_are_texts_without_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("tea\r\ncafé\n".encode())))
    given = read_given(text=None, files=[], stdin="-")
    table, texts = read_input(DataConfig(text_column="note"), given)
    assert table.to_dict("list") == {"note": ["tea", "café"]}
    assert texts == ("tea", "café")


@pytest.mark.parametrize(
    "given",
    [
        {"text": None, "files": [], "stdin": None},
        {"text": "tea", "files": [Path("a.csv")], "stdin": None},
        {"text": None, "files": [], "stdin": "tea"},
    ],
)
def test_texts_are_given_in_one_way(given: dict) -> None:
    with pytest.raises(InputError, match="Give the texts in one way"):
        read_given(**given)
