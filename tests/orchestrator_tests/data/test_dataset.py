from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.data.dataset import Dataset, load_dataset, load_labelled, require_rows, texts_of
from orchestrator.data.tables import read_table
from shared.config.sections import DataConfig
from shared.errors import InputError

GOOD = "text,a,b\nfirst,0,1\nsecond,1,0\n"
CLASSES = "id,text,topic\n7,x,tea\n8,y,sea\n9,z,tea \n5,w,sea\n"
SLIP = "text,a,b\n" + "".join(f"text {i},{i % 2},{i % 3 % 2}\n" for i in range(60))
SWALLOWED = SLIP + '"inch 5,0,1\nswallowed,0,0\nand 7",1,1\nafter,1,0\n'
PRICES = "text,price\n" + "".join(f"text {i},{i / 8}\n" for i in range(30))


def _load(tmp_path: Path, content: str | bytes, **settings: object) -> Dataset:
    path = tmp_path / "texts.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_dataset(DataConfig(csv=path, **settings))


def test_texts_and_labels_are_read_in_order(tmp_path: Path) -> None:
    dataset = _load(tmp_path, GOOD)
    assert dataset.texts == ("first", "second")
    assert dataset.label_names == ("a", "b")
    np.testing.assert_array_equal(dataset.labels, np.array([[0, 1], [1, 0]], dtype=np.float32))


def test_a_byte_order_mark_quoted_newlines_and_the_text_nan_are_read(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbftext,a\n"two\nlines, quoted",0\nNaN,1\n'
    assert _load(tmp_path, content).texts == ("two\nlines, quoted", "NaN")


def test_zeros_and_ones_may_be_written_as_decimals_and_with_spaces(tmp_path: Path) -> None:
    assert _load(tmp_path, "text,a\nx, 1.0\ny,0 \n").labels[:, 0].tolist() == [1, 0]


def test_without_names_every_binary_column_is_a_label(tmp_path: Path) -> None:
    dataset = _load(tmp_path, "id,text,a,stars,b\n7,x,0,5,1\n8,y,1,1,0\n")
    assert dataset.label_names == ("a", "b")
    assert [one.column for one in dataset.left_out] == ["id", "stars"]


def test_named_labels_are_taken_in_the_order_given(tmp_path: Path) -> None:
    dataset = _load(tmp_path, GOOD, label_columns=("b", "a"))
    assert dataset.label_names == ("b", "a")
    assert dataset.labels[0].tolist() == [1, 0]


def test_classes_become_a_column_each_in_their_order(tmp_path: Path) -> None:
    dataset = _load(tmp_path, CLASSES, class_column="topic")
    assert (dataset.label_names, dataset.task) == (("sea", "tea"), "multiclass")
    assert dataset.labels.tolist() == [[0, 1], [1, 0], [0, 1], [1, 0]]
    numbered = CLASSES.replace("tea", "2").replace("sea", "10")
    assert _load(tmp_path, numbered, class_column="topic").label_names == ("2", "10")


def test_classes_may_be_many_numbers_if_each_has_many_rows(tmp_path: Path) -> None:
    content = "text,intent\n" + "".join(f"text {i},{i % 77}\n" for i in range(770))
    assert len(_load(tmp_path, content, class_column="intent").label_names) == 77


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("txt,a\nx,0\ny,1\n", {}, "no column 'text'; it has 'txt', 'a'. Did you mean 'txt'?"),
        ("review,fear\nx,0\n", {}, "it has 'review', 'fear'. Name .* texts with --text-column"),
        (GOOD, {"label_columns": ("aa",)}, "no column 'aa'.* Did you mean 'a'?"),
        (GOOD, {"label_columns": ("text",)}, "cannot be both the text and a label"),
        ("text,a\nx,0\ny,2\n", {"label_columns": ("a",)}, "row 2, column 'a': .* but is '2'"),
        ("text,a\nx,0\ny,\n", {"label_columns": ("a",)}, "row 2, column 'a': .* is nothing"),
        ("text,a\nx,NaN\ny,1\n", {"label_columns": ("a",)}, "row 1, column 'a': .* 'NaN'"),
        ("text,a\nx,0\n  ,1\n", {}, "row 2, column 'text': the text is empty. Drop"),
        ("text,a\n,0\nx,0\n,1\n", {}, "row 1, column 'text': the text is empty, as in 2 rows"),
        (
            SLIP + "x,,0\n",
            {},
            "row 61, column 'a': a label must be 0 or 1, but .* 61 cells 60 are",
        ),
        (SWALLOWED, {}, "row 61, column 'text': the text runs on into later rows"),
        ("text,a\nx,1\ny,1\n", {}, "column 'a' is 1 in every row"),
        ("text,stars\nx,5\n", {}, "only the values 0 and 1: .* with --class-column NAME, or"),
        (CLASSES, {}, "Name a column of classes with --class-column topic, or labels"),
        (CLASSES, {"class_column": "topik"}, "no column 'topik'.* Did you mean 'topic'?"),
        (CLASSES, {"class_column": "text"}, "cannot be both the text and the class"),
        ("text,topic\nx,a\ny, \n", {"class_column": "topic"}, "row 2, column 'topic': .* empty"),
        ("text,topic\nx,a\ny,a\n", {"class_column": "topic"}, "'topic' is 'a' in every row"),
        (PRICES, {"class_column": "price"}, "'price' has 30 different numbers.*no regression"),
        (PRICES, {}, "with --class-column NAME, or .* Quantities cannot be predicted"),
    ],
)
def test_bad_data_is_named_with_its_place(
    tmp_path: Path, content: str | bytes, settings: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _load(tmp_path, content, **settings)


def test_no_file_at_all_is_said() -> None:
    with pytest.raises(InputError, match="name a file with --data"):
        load_dataset(DataConfig())


def test_the_fingerprint_follows_texts_labels_and_names(tmp_path: Path) -> None:
    contents = (
        GOOD,
        GOOD.replace("first", "other"),
        GOOD.replace("first,0,1", "first,1,0").replace("second,1,0", "second,0,1"),
        GOOD.replace("a,b", "a,c"),
    )
    assert len({_load(tmp_path, content).fingerprint for content in contents}) == 4
    in_classes = replace(_load(tmp_path, GOOD), class_column="topic")
    assert in_classes.fingerprint != _load(tmp_path, GOOD).fingerprint
    assert _load(tmp_path, GOOD).fingerprint == _load(tmp_path, GOOD).fingerprint


def test_known_labels_are_read_in_their_order_even_where_they_never_change(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("note,extra,a,b\nx,1,1,0\ny,0,1,1\n")
    config = DataConfig(csv=path, text_column="note")
    dataset = load_labelled(config, ("b", "a"))
    assert (dataset.texts, dataset.label_names) == (("x", "y"), ("b", "a"))
    assert dataset.labels.tolist() == [[0, 1], [1, 1]]
    with pytest.raises(InputError, match="has no column 'c'; it has 'note', 'extra', 'a', 'b'"):
        load_labelled(config, ("a", "c"))


def test_of_known_classes_not_all_need_a_row_but_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("text,topic\nx,b\ny,b\n")
    config = DataConfig(csv=path, class_column="topic")
    dataset = load_labelled(config, ("c", "b", "a"))
    assert dataset.labels.tolist() == [[0, 1, 0], [0, 1, 0]]
    with pytest.raises(InputError, match="row 1, column 'topic': 'b' is none of the known .* 'a'"):
        load_labelled(config, ("c", "a"))


def test_texts_to_predict_need_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("note\nb\na\n")
    assert texts_of(read_table(DataConfig(csv=path)), "note") == ("b", "a")


def test_a_blank_line_among_texts_alone_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("text\none\n\ntwo\n")
    with pytest.raises(InputError, match="row 2, column 'text': the text is empty"):
        texts_of(read_table(DataConfig(csv=path)), "text")


def _dataset(n: int, n_positive: int) -> Dataset:
    labels = np.zeros((n, 1), dtype=np.float32)
    labels[:n_positive] = 1
    return Dataset(tuple(f"text {i}" for i in range(n)), labels, ("a",), "some.csv")


def _classified(n: int, n_of_a: int) -> Dataset:
    labels = _dataset(n, n_of_a).labels
    texts, both = tuple(f"text {i}" for i in range(n)), np.hstack([1 - labels, labels])
    return Dataset(texts, both, ("b", "a"), "some.csv", "topic")


def test_enough_rows_are_accepted() -> None:
    require_rows(_dataset(14, 7), np.arange(14), n_folds=5)
    require_rows(_classified(14, 7), np.arange(14), n_folds=5)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (_dataset(6, 3), "5 folds need at least 7 distinct texts, but there are 6"),
        (_dataset(20, 6), "column 'a' is 1 for 6 of the distinct texts"),
        (_dataset(20, 14), "column 'a' is 0 for 6 of the distinct texts"),
        (
            _classified(20, 6),
            "'topic' is 'a' for 6 of the distinct texts.* together with another",
        ),
    ],
)
def test_too_few_rows_for_the_folds_are_refused(dataset: Dataset, message: str) -> None:
    with pytest.raises(InputError, match=f"some.csv: .*{message}"):
        require_rows(dataset, np.arange(len(dataset.texts)), n_folds=5)


def test_texts_that_are_alike_count_once() -> None:
    with pytest.raises(InputError, match="column 'a' is 1 for 6 of the distinct texts"):
        require_rows(_dataset(20, 7), np.array([0, *range(19)]), n_folds=5)
