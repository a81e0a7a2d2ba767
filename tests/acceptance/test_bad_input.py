import re
from pathlib import Path

import pytest

from tests.acceptance.commands import FinishedRun, Tagsweep

ROWS = "".join(f"text {i},{i % 2},{i % 3 % 2}\n" for i in range(60))
GOOD = "text,a,b\n" + ROWS


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (GOOD, ("--text-column", "body"), "no column 'body'"),
        (GOOD, ("--label-columns", "a,c"), "no column 'c'"),
        (GOOD + "x,2,0\n", ("--label-columns", "a"), "row 61, column 'a': a label must be 0 or 1"),
        (GOOD + "x,,0\n", ("--label-columns", "a"), "row 61, column 'a': .* is nothing"),
        (GOOD + "x,NaN,0\n", ("--label-columns", "a"), "row 61, column 'a': .* 'NaN'"),
        (GOOD + "x,,0\n", (), "row 61, column 'a': a label must be 0 or 1, but is nothing"),
        (GOOD, ("--label-columns", "a,b,a"), "label_columns: 'a' is named twice"),
        (GOOD, ("--seed", "20261127105500"), "study.seed: .* less than or equal to 2147483647"),
        (GOOD, ("--separator", "tab"), "has no column 'text'; it has 'text,a,b'"),
        (GOOD, ("--separator", ","), "data.separator: .* 'comma', 'semicolon', 'tab' or 'pipe'"),
        (GOOD + ",1,0\n", (), "row 61, column 'text': the text is empty"),
        ("text,a,b\n", (), "no rows"),
        ("", (), "is empty"),
        ("text,a\n" + "x,1\n" * 60, (), "column 'a' is 1 in every row"),
        ("text,a,a\nx,1,0\n", (), "names column 'a' more than once"),
        ("text,a\nx,0\ny,1\nz,1\n", (), "5 folds need at least 7 distinct texts"),
        ("text,a\n" + "x,0\n" * 30 + "y,1\n" * 30, (), "distinct texts, but there are 2"),
        (GOOD + "x,1,0,0,0\n", (), "not a valid CSV"),
        (GOOD.encode("utf-16"), ("--encoding", "utf-8"), "line 1: the file must be UTF-8"),
        (GOOD, ("--encoder", "no-such-encoder"), "There is no encoder 'no-such-encoder'"),
        (GOOD, ("--n-trials", "0"), "study.n_trials: .* greater than 0"),
        (GOOD, ("--storage", "sqlite:///x.db"), "must be PostgreSQL, but is SQLite"),
        (GOOD, ("--n-trials", "many"), "Invalid value for '--n-trials'"),
    ],
)
def test_a_bad_input_is_one_clear_line_and_exit_code_2(
    tagsweep: Tagsweep,
    tmp_path: Path,
    content: str | bytes,
    options: tuple[str, ...],
    message: str,
) -> None:
    path = tmp_path / "texts.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    command = ("run", "--data", path, "--run-dir", tmp_path / "run", "--quiet", *options)
    shown = tagsweep(*command, code=2)
    assert shown.stdout == ""
    assert re.search(message, shown.stderr)
    assert "Usage" in shown.stderr or shown.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "none.yaml"), "The configuration cannot be read: none.yaml"),
        (("run", "--data", "none.csv"), "none.csv cannot be read"),
        (("run",), "name a file with --data"),
        (("status", "."), "is not a run directory"),
        (("search", "."), "is not a run directory"),
        (("ensemble", "."), "is not a run directory"),
        (("predict", ".", "--text", "x"), "is not a bundle"),
        (("predict", "."), "Give the texts in one way"),
        (("predict", ".", "--text", "x", "-"), "Give the texts in one way"),
        (("predict", ".", "--text", " "), "none may be empty"),
        (("predict", ".", "--input", "none.csv"), "none.csv cannot be read"),
        (("evaluate", ".", "none.csv"), "is not a bundle"),
        (("serve", ".", "--port", "0"), "is not a bundle"),
        (("export-onnx", ".", "--output", "x.onnx"), "is not a bundle"),
    ],
)
def test_a_wrong_call_is_one_clear_line_and_exit_code_2(
    tagsweep: Tagsweep, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    shown = tagsweep(*arguments, code=2, cwd=tmp_path)
    assert message in shown.stderr
    assert shown.stderr.count("\n") == 1


def test_a_finished_run_refuses_to_go_on_with_something_else_and_loses_nothing(
    tagsweep: Tagsweep, finished: FinishedRun, short_yaml: Path, small_csv: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.csv"
    rows = small_csv.read_text()
    for written, replacement, settings, said in (
        ("", "", "study: {seed: 7}", "study.seed was 42 and is 7"),
        (",1", ",0", "", "the labels changed"),
        ("the", "a", "", "the texts changed"),
    ):
        changed.write_text(rows.replace(written, replacement, 1) if written else rows)
        config = tmp_path / "changed.yaml"
        config.write_text(f"{short_yaml.read_text()}\n{settings}")
        again = ("run", config, "--data", changed, "--run-dir", finished.folder, "--n-trials", 9)
        refused = tagsweep(*again, "--quiet", code=2).stderr
        assert f"cannot go on, because {said}. Undo the change" in refused
    assert "Nothing to do" in tagsweep("run", "--run-dir", finished.folder).stdout
