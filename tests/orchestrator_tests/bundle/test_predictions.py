import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestrator.bundle.predict import Prediction
from orchestrator.bundle.predictions import columns_of, write_predictions
from orchestrator.data.dataset import load_labelled
from orchestrator.data.tables import read_table
from orchestrator.decisions.decide import take
from shared.config.sections import DataConfig

TWO = Prediction(
    np.array([[0.25, 0.75], [0.5, 0.5]], np.float32), np.array([[False, True], [True, False]])
)


def _written(
    table: pd.DataFrame, label_names: tuple[str, ...], class_column: str | None = None
) -> str:
    """Return what is written of two rows, of which one is predicted at a time."""
    thresholds = None if class_column else (0.5, 0.6)
    file = io.StringIO(newline="")
    parts = [Prediction(one[None], take(one[None], thresholds)) for one in TWO.probabilities]
    write_predictions(file, table, parts, label_names, class_column)
    return file.getvalue()


def test_rows_keep_their_columns_and_get_a_probability_and_a_decision_a_label() -> None:
    table = pd.DataFrame({"id": ["7", "-8"], "body": ['1+1, "quoted"\nline', "2 = 2"]})
    found = pd.read_csv(io.StringIO(_written(table, ("a", "b"))), dtype=str)
    assert list(found) == ["id", "body", "a_probability", "a", "b_probability", "b"]
    assert found[["id", "body"]].equals(table.astype(found.dtypes["id"]))
    assert found.iloc[0, 2:].tolist() == ["0.250000", "0", "0.750000", "1"]


def test_a_class_has_the_column_that_it_was_learnt_from() -> None:
    table = pd.DataFrame({"text": ["x", "y"]})
    assert _written(table, ("=a", "b"), "topic").splitlines() == [
        "text,'=a_probability,b_probability,topic",
        "x,0.250000,0.750000,b",
        "y,0.500000,0.500000,'=a",
    ]


@pytest.mark.parametrize(
    ("kept", "labels", "new"),
    [
        (
            ("text",),
            ("spam", "spam_probability"),
            (
                "spam_probability_predicted",
                "spam",
                "spam_probability_probability",
                "spam_probability",
            ),
        ),
        (("body",), ("text",), ("text_probability", "text")),
        (("text", "a"), ("a",), ("a_probability", "a_predicted")),
        (
            ("text", "a", "a_predicted", "a_probability"),
            ("a",),
            ("a_probability_predicted", "a_predicted_predicted"),
        ),
        (("text", "'=a"), ("=a",), ("'=a_probability", "'=a_predicted")),
    ],
)
def test_no_two_columns_have_one_name_and_labels_have_that_of_the_data_where_it_is_free(
    kept: tuple[str, ...], labels: tuple[str, ...], new: tuple[str, ...]
) -> None:
    assert columns_of(kept, labels, None) == [*kept, *new]


def test_a_class_whose_column_is_kept_stands_beside_it() -> None:
    assert columns_of(["text", "topic"], ["a"], "topic") == [
        "text",
        "topic",
        "a_probability",
        "topic_predicted",
    ]


@pytest.mark.parametrize("class_column", [None, "=topic"])
def test_predictions_can_be_fed_back(tmp_path: Path, class_column: str | None) -> None:
    path, labels = tmp_path / "predictions.csv", ("+ve", "spam")
    written = _written(pd.DataFrame({"body": ["x", "y"], "id": ["1", "2"]}), labels, class_column)
    path.write_text(written, encoding="utf-8", newline="")
    config = DataConfig(csv=path, text_column="body", class_column=class_column)
    dataset = load_labelled(config, labels)
    assert (dataset.texts, dataset.labels.tolist()) == (("x", "y"), [[0, 1], [1, 0]])
    table = read_table(config).cells
    again = _written(table, labels, class_column)
    assert len(set(table)) == len(list(table))
    assert len(again.splitlines()[0].split(",")) > len(written.splitlines()[0].split(","))


def test_no_text_is_a_formula_to_a_spreadsheet() -> None:
    texts = ['=HYPERLINK("http://evil")', "+1+1"]
    found = pd.read_csv(io.StringIO(_written(pd.DataFrame({"text": texts}), ("=a", "b"))))
    assert list(found)[:3] == ["text", "'=a_probability", "'=a"]
    assert found["text"].tolist() == [f"'{text}" for text in texts]
