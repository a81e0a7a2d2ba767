import io
import os
import sys

import pytest

from orchestrator.cli.bundle import _read_texts, _require_extra
from shared.errors import InputError


def test_a_missing_extra_is_named_and_how_to_have_it() -> None:
    _require_extra("serve", "json")
    with pytest.raises(InputError, match=r"extra 'serve': pip install 'tagsweep\[serve\]'"):
        _require_extra("serve", "no_such_module")


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
        _read_texts(text=text, csv=None, text_column=None, stdin=None if text else "-")


def test_lines_are_texts_without_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("tea\r\ncafé\n".encode())))
    assert _read_texts(text=None, csv=None, text_column=None, stdin="-") == ("tea", "café")
