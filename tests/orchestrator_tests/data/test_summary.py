from dataclasses import replace

import numpy as np

from orchestrator.data.columns import LeftOut
from orchestrator.data.dataset import Dataset
from orchestrator.data.splits import Split
from orchestrator.data.summary import describe_data, describe_split

ROWS = np.arange(10)
DATASET = Dataset(
    ("tea",) * 2 + tuple("abcdefgh"),
    np.array([[1, 0]] * 7 + [[0, 1]] * 3, dtype=np.float32),
    ("spam", "[ham]"),
    "mails.csv",
    left_out=(LeftOut("id", "not named"), LeftOut("c", "empty"), LeftOut("day", "not named")),
)


def test_what_a_run_takes_is_said_in_a_few_lines() -> None:
    assert describe_data(DATASET, ["mini", "maxi"]) == [
        "Data      mails.csv: 10 rows, 9 different texts",
        "Labels    2, with rows: spam 7, [ham] 3",
        "Left out  'id', 'day' (not named), 'c' (empty)",
        "Encoder   mini, maxi",
    ]
    read = replace(DATASET, form="CSV, UTF-8", label_form="yes = 1, no = 0 in 'spam'")
    data, _, words, *_ = describe_data(read, ["mini"])
    assert data == "Data      mails.csv (CSV, UTF-8): 10 rows, 9 different texts"
    assert words == "Values    yes = 1, no = 0 in 'spam'"
    classes = replace(DATASET, class_column="kind", left_out=())
    assert describe_data(classes, ["mini"])[1] == "Classes   2, with rows: spam 7, [ham] 3"


def test_many_labels_and_columns_stay_on_one_screen() -> None:
    names = tuple(f"label {i}" for i in range(300))
    many = replace(
        DATASET,
        labels=np.ones((10, 300), dtype=np.float32),
        label_names=names,
        left_out=tuple(LeftOut(f"column {i}", "empty") for i in range(300)),
    )
    _, labels, left_out, _ = describe_data(many, ["mini"])
    assert labels.endswith("label 39 10, 260 more")
    assert left_out.endswith("'column 19' (empty), 280 more")


def test_the_split_is_said_with_the_folds_of_trials() -> None:
    split, fold = Split(ROWS[:6], ROWS[6:8], ROWS[8:], "f"), (ROWS[:6], ROWS[6:8])
    said = "Split     6 rows to train, 2 to validate, 2 to test"
    assert describe_split(split, [fold]) == said
    assert describe_split(split, [fold] * 3) == f"{said}; each trial on 3 folds of the former two"
