import ast
import re
from pathlib import Path

import pandas as pd
import pytest

from orchestrator.data.columns import LeftOut, find_labels
from shared.errors import InputError

PATH = Path("some.csv")
N = 40
BINARY = ["0", "1"] * (N // 2)


def _table(**columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"text": [f"text {i}" for i in range(N)], **columns}, dtype=str)


@pytest.mark.parametrize("slip", ["", "2", "True", "1.00"])
def test_a_label_with_a_wrong_cell_is_an_error_and_not_a_label_less(slip: str) -> None:
    table = _table(a=BINARY, b=[*BINARY[:7], slip, *BINARY[8:]])
    with pytest.raises(InputError, match="some.csv, row 8, column 'b': a label must be 0"):
        find_labels(table, "text", PATH)


def test_of_other_columns_it_is_known_why_they_are_left_out() -> None:
    others = {
        "id": [str(i) for i in range(N)],
        "is_read": ["True", "False"] * (N // 2),
        "tags": ["tea;sea", "tea"] * (N // 2),
        "topic": ["tea", "sea"] * (N // 2),
        "note": [""] * N,
    }
    names, left_out = find_labels(_table(a=BINARY, **others), "text", PATH)
    assert names == ("a",)
    assert left_out == (
        LeftOut("id", "40 different values"),
        LeftOut("is_read", "'False' and 'True' in place of 0 and 1"),
        LeftOut("tags", "several labels a cell"),
        LeftOut("topic", "2 different values, like classes"),
        LeftOut("note", "empty"),
    )


@pytest.mark.parametrize(
    "cells",
    [
        ["tea;sea", "tea"],
        ["tea, sea", "tea"],
        ["['tea', 'sea']", "['tea']"],
        ['["tea","sea"]', "[]"],
    ],
)
def test_the_advice_for_cells_that_list_labels_makes_a_column_of_each(cells: list[str]) -> None:
    table = _table(a=cells * (N // 2))
    with pytest.raises(InputError, match="'a' .several labels a cell") as refused:
        find_labels(table, "text", PATH)
    (advice,) = re.findall(r"pandas' (.*) does", str(refused.value))
    made = eval(advice, {"table": table, "ast": ast})  # noqa: S307  it is what we advise
    assert sorted(made.columns) == ["sea", "tea"]
    assert made["sea"].tolist() == [1, 0] * (N // 2)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["yes", "no"], "'a' .'no' and 'yes' in place of 0 and 1.. Write the labels as 0 and 1"),
        (["tea", "sea"], "'a' .2 different .* Name a column of classes with --class-column a"),
    ],
)
def test_without_labels_the_advice_is_for_what_there_is(cells: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_labels(_table(a=cells * (N // 2)), "text", PATH)
