import io
import os
import sys

import pytest

from orchestrator.cli.texts import read_input, texts_in
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
        read_input(text=text, csv=None, stdin=None if text else "-")


def test_lines_are_texts_without_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("tea\r\ncafé\n".encode())))
    table = read_input(text=None, csv=None, stdin="-")
    assert texts_in(table, None, "note") == ("tea", "café")
    assert list(table) == ["note"]
