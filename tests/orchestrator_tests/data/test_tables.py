from pathlib import Path

import pytest

from orchestrator.data.tables import read_table, require_closed_quotes
from shared.errors import InputError

SWALLOWED = (
    "text,a,b\n"
    + "".join(f"ok text {i},{i % 2},{i // 2 % 2}\n" for i in range(10))
    + '"inch 5,0,1\n'
    + "".join(f"swallowed {i},{i % 2},0\n" for i in range(5))
    + 'and 7",1,1\nafter,1,0\n'
)


def _write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "some.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_cells_are_strings_as_they_stand_and_names_have_no_blanks_around(tmp_path: Path) -> None:
    table = read_table(_write(tmp_path, "text , a\r\nNaN, 1.0\r\n\r\n,\r\n"))
    assert table.to_dict("list") == {"text": ["NaN", ""], "a": [" 1.0", ""]}


def test_a_text_may_be_longer_than_the_reader_expects(tmp_path: Path) -> None:
    assert read_table(_write(tmp_path, "text\n" + "x" * 200_000)).loc[0, "text"] == "x" * 200_000


def test_in_one_column_each_line_is_a_row_blank_ones_too(tmp_path: Path) -> None:
    table = read_table(_write(tmp_path, 'text\none\n\n  \n"two\nlines"\n'))
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
        ("text\ta\nx, y\t0\n", "separated by tabs, but must be by commas. .*sep='.t'"),
        ("text;a\nx, y;0\n", "separated by semicolons, but must be by commas"),
        (b"text,a\nx,0\nna\xefve,1\n", "some.csv, line 3: the file must be UTF-8, but is not"),
        ("text,a\nx,0\n".encode("utf-16"), "must be UTF-8, but is UTF-16"),
        (b"PAR1\x15\x04", "is a Parquet file. .*read_parquet"),
        (b"PK\x03\x04\x14", "is an Excel workbook"),
        (b"\x1f\x8b\x08", "is compressed with gzip"),
        ('{"text": "x", "a": 0}\n', "is JSON. .*read_json"),
    ],
)
def test_what_is_no_csv_is_told_as_what_it_is(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_table(_write(tmp_path, content))


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none.csv cannot be read: No such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a folder, but must be a CSV file"):
        read_table(tmp_path)


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
    path = _write(tmp_path, content)
    with pytest.raises(InputError, match=place):
        require_closed_quotes(read_table(path), path, "text")


@pytest.mark.parametrize(
    "text", ["two\nlines, of words\nand more", "it was 3,1\nand good", "a,0,0 b\nc", "\n"]
)
def test_lines_of_a_text_are_its_own(tmp_path: Path, text: str) -> None:
    rows = "".join(f"x,{i % 2}\n" for i in range(9))
    path = _write(tmp_path, f'text,a\n{rows}"{text}",1\n')
    require_closed_quotes(read_table(path), path, "text")
