"""Each form that data come in gives what the same data give as a plain CSV."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from orchestrator.data.dataset import Dataset, load_dataset
from shared.config.sections import DataConfig
from shared.errors import InputError

TABLE = pd.DataFrame(
    {
        "id": [7, 8, 9, 10],
        "text": ["plain, with a comma", 'two\r\nlines, "quoted"', "café; it is | naïve\t", "NaN"],
        "joy": [0, 1, 1, 0],
        "fear": [1, 0, 1, 1],
        "topic": ["tea", "sea", "tea", "sea"],
    }
)


def _csv(**settings: object) -> bytes:
    return TABLE.to_csv(index=False, lineterminator="\n", **settings).encode()


def _json_lines(table: pd.DataFrame = TABLE) -> bytes:
    return table.to_json(orient="records", lines=True, force_ascii=False).encode()


def _parquet(table: pd.DataFrame = TABLE) -> bytes:
    return table.to_parquet()


def _arrow(open_writer: Callable = pa.ipc.new_file) -> bytes:
    file, table = io.BytesIO(), pa.Table.from_pandas(TABLE)
    with open_writer(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def _load(tmp_path: Path, content: bytes, **settings: object) -> Dataset:
    path = tmp_path / "some.data"
    path.write_bytes(content)
    return load_dataset(DataConfig(csv=path, **settings))


FORMS = [
    (_csv(), {}, "CSV, UTF-8, separated by commas"),
    (b"\xef\xbb\xbf" + _csv(), {}, "CSV, UTF-8, separated by commas"),
    (_csv(sep=";"), {}, "CSV, UTF-8, separated by semicolons"),
    (_csv(sep="\t"), {}, "CSV, UTF-8, separated by tabs"),
    (_csv(sep="|"), {"separator": "pipe"}, "CSV, UTF-8, separated by pipes"),
    (_csv().decode().encode("utf-16"), {}, "CSV, UTF-16, separated by commas"),
    (_csv().decode().encode("utf-16-be"), {"encoding": "utf-16-be"}, "CSV, UTF-16-BE, .* commas"),
    (_csv().decode().encode("cp1252"), {"encoding": "cp1252"}, "CSV, CP1252, .* commas"),
    (gzip.compress(_csv()), {}, "CSV, UTF-8, separated by commas, gzip"),
    (_json_lines(), {}, "JSON lines, UTF-8"),
    (_json_lines(TABLE.assign(joy=TABLE["joy"] == 1)), {}, "JSON lines, UTF-8"),
    (gzip.compress(_json_lines()), {}, "JSON lines, UTF-8, gzip"),
    (_parquet(), {}, "Parquet"),
    (_parquet(TABLE.astype({"joy": bool, "fear": float, "topic": "category"})), {}, "Parquet"),
    (_arrow(), {}, "Arrow"),
    (_arrow(pa.ipc.new_stream), {}, "Arrow"),
]


@pytest.mark.parametrize("columns", [{}, {"class_column": "topic"}])
@pytest.mark.parametrize(("content", "settings", "form"), FORMS)
def test_each_form_of_a_file_gives_the_data_of_the_plain_csv(
    tmp_path: Path, content: bytes, settings: dict, form: str, columns: dict
) -> None:
    found = _load(tmp_path, content, **settings, **columns)
    plain = _load(tmp_path, _csv(), **columns)
    assert found.fingerprint == plain.fingerprint
    assert (found.texts, found.left_out) == (plain.texts, plain.left_out)
    assert pd.Series(found.form).str.fullmatch(form).all()


@pytest.mark.parametrize("given", ["*.csv", ["a.csv", "b.csv"], ["a*", "b.csv"]])
def test_several_files_or_a_pattern_are_one_table_in_order(
    tmp_path: Path, given: str | list[str]
) -> None:
    TABLE[:1].to_csv(tmp_path / "a.csv", index=False)
    TABLE[1:][TABLE.columns[::-1]].to_csv(tmp_path / "b.csv", index=False, sep=";")
    names = [given] if isinstance(given, str) else given
    found = load_dataset(DataConfig(csv=[tmp_path / name for name in names]))
    assert found.fingerprint == _load(tmp_path, _csv()).fingerprint
    forms = "CSV, UTF-8, separated by commas; CSV, UTF-8, separated by semicolons"
    assert found.form == f"2 files: {forms}"


def test_an_error_names_the_file_of_several_and_its_row_there(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "a.csv", index=False)
    TABLE.replace("NaN", " ").to_json(tmp_path / "b.jsonl", orient="records", lines=True)
    with pytest.raises(InputError, match=r"b.jsonl, row 4, column 'text': the text is empty"):
        load_dataset(DataConfig(csv=[tmp_path / "a.csv", tmp_path / "b.jsonl"]))
    TABLE.drop(columns="joy").to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(InputError, match=r"c.csv must have the columns of .*a.csv, but .* 'joy'"):
        load_dataset(DataConfig(csv=[tmp_path / "a.csv", tmp_path / "c.csv"]))
    with pytest.raises(InputError, match=r"a.csv is named twice"):
        load_dataset(DataConfig(csv=[tmp_path / "a.csv", tmp_path / "a*"]))


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (_csv().decode().encode("cp1252"), {}, "line 5: .* be UTF-8, .*--encoding .*, cp1252 for"),
        (b"text,a\nx,0\n\x81,1\n", {"encoding": "cp1252"}, "line 3: the file must be CP1252"),
        (_csv().decode().encode("utf-16") + b"a", {}, "line 7: the file must be UTF-16"),
        (_csv().decode().encode("utf-16-le"), {}, "has zero bytes.*--encoding"),
        (b"PK\x03\x04\x14", {}, "is an Excel workbook"),
        (gzip.compress(_csv())[:-9], {}, "cannot be unpacked: .*Copy it anew"),
        (_parquet()[:-9], {}, "is damaged: .*Parquet"),
        (_arrow()[:-9], {}, "is damaged: .*Copy or write it anew"),
        (b'[{"text": "x", "a": 0}]', {}, "is one JSON array.*lines=True"),
        (b'{"text": "x", "a": 0}\n\n{"text": \n', {}, "line 3: each line must be a JSON object"),
        (b'{"text": "x", "a": 0}\n["y", 1]\n', {}, r"line 2: .* object, but is \[.y., 1\]"),
        (b'{"text": "\\ud83d", "a": 0}\n', {}, "line 1: an escape .* half a character"),
        (b'{"text": "x", "a": 0}\n{"a": 1}\n', {}, "row 2, column 'text': the text is empty"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place_and_what_to_do(
    tmp_path: Path, content: bytes, settings: dict, message: str
) -> None:
    with pytest.raises(InputError, match=f"some.data.*{message}"):
        _load(tmp_path, content, **settings)


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path: Path) -> None:
    for name, message in (
        ("none.csv", "none.csv cannot be read: No such file"),
        ("none*", r"none\* matches no file"),
        (".", r"is a folder: name its files, as '.*/\*.csv' or '.*/\*.arrow'"),
    ):
        with pytest.raises(InputError, match=message):
            load_dataset(DataConfig(csv=tmp_path / name))


def test_an_encoding_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown encoding: cp12522; Python's are meant"):
        DataConfig(encoding="cp12522")
