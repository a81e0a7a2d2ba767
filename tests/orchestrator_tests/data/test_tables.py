from pathlib import Path

import pandas as pd
import pytest

from orchestrator.data.tables import read_table
from shared.config.sections import DataConfig
from shared.errors import InputError

SWALLOWED = (
    "text,a,b\n"
    + "".join(f"ok text {i},{i % 2},{i // 2 % 2}\n" for i in range(10))
    + '"inch 5,0,1\n'
    + "".join(f"swallowed {i},{i % 2},0\n" for i in range(5))
    + 'and 7",1,1\nafter,1,0\n'
)


def _read(tmp_path: Path, content: str | bytes) -> pd.DataFrame:
    path = tmp_path / "some.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(DataConfig(csv=path)).cells


def test_cells_are_strings_as_they_stand_and_names_have_no_blanks_around(tmp_path: Path) -> None:
    table = _read(tmp_path, "text , a\r\nNaN, 1.0\r\n\r\n,\r\n")
    assert table.to_dict("list") == {"text": ["NaN", ""], "a": [" 1.0", ""]}


def test_a_text_may_be_longer_than_the_reader_expects(tmp_path: Path) -> None:
    assert list(_read(tmp_path, "text\n" + "x" * 200_000)["text"]) == ["x" * 200_000]


def test_in_one_column_each_line_is_a_row_blank_ones_too(tmp_path: Path) -> None:
    table = _read(tmp_path, 'text\none\n\n  \n"two\nlines"\n')
    assert list(table["text"]) == ["one", "", "  ", "two\nlines"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: it has no header"),
        ("text,a\n", "has a header but no rows"),
        ("text,a,a \nx,1,0\n", "the header names column 'a' more than once"),
        ("text,a\nx,0\ny,1,1,1\n", "not a valid CSV: line 3 must have 2 fields, .* but has 4"),
        ('text,a\n"x\nx",0\ny\n', "line 4 must have 2 fields, .* but has 1"),
        ('text,a\nx,0\n"y,1\nz,0\n', "the quote that opens in line 3 is never closed"),
        ('text,a\n"5 inch" is small,1\n', "expected after .* in line 2. Double the quotes"),
        ("text;a\nx;0\ny;1;1\n", "line 3 must have 2 fields, .* that have semicolons in them"),
        ("text;a, b\nx;0, 1\n", "may be separated by commas or by semicolons. .*--separator"),
    ],
)
def test_what_is_no_csv_is_told_as_what_it_is(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _read(tmp_path, content)


@pytest.mark.parametrize(
    "content", ["text;a\nx, y;0\n", "text\ta|b\nx, y\t0\n", 'text|"a;\n, b"\nx; y, z|0\n']
)
def test_what_parts_header_and_rows_alike_is_the_separator(tmp_path: Path, content: str) -> None:
    table = _read(tmp_path, content)
    assert table.shape == (1, 2)
    assert table["text"].iloc[0].startswith("x")


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (SWALLOWED, "row 11, column 'text': the text runs on into later rows"),
        (
            "id,text,a\n" + "".join(f"{i},x,{i % 2}\n" for i in range(9)) + '9,"y,1\n10,z",0\n',
            "row 10, column 'text': the text runs on into later rows",
        ),
    ],
)
def test_rows_that_an_open_quote_has_swallowed_are_found(
    tmp_path: Path, content: str, place: str
) -> None:
    with pytest.raises(InputError, match=place):
        _read(tmp_path, content)
    with pytest.raises(InputError, match=place):
        _read(tmp_path, content.replace(",", ";"))


@pytest.mark.parametrize(
    "text",
    ["two\nlines, of words\nand more", "it was 3,1\nand good", "a,0,0 b\nc", '""5"" in\ns', "\n"],
)
def test_lines_of_a_text_are_its_own(tmp_path: Path, text: str) -> None:
    rows = "".join(f"x,{i % 2}\n" for i in range(9))
    assert len(_read(tmp_path, f'text,a\n{rows}"{text}",1\n')) == 10
