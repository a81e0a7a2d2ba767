import pandas as pd
import pytest

from orchestrator.data.columns import LeftOut, describe_words, find_labels, label_values
from shared.errors import InputError

PATH = "some.csv"
N = 40
BINARY = ["0", "1"] * (N // 2)


def _table(**columns: list[str]) -> pd.DataFrame:
    rows = pd.MultiIndex.from_product([[PATH], range(1, N + 1)])
    texts = [f"text {i}" for i in range(N)]
    return pd.DataFrame({"text": texts, **columns}, rows, dtype=str)


@pytest.mark.parametrize("slip", ["", "2", "True", "1.00"])
def test_a_label_with_a_wrong_cell_is_an_error_and_not_a_label_less(slip: str) -> None:
    table = _table(a=BINARY, b=[*BINARY[:7], slip, *BINARY[8:]])
    with pytest.raises(InputError, match="some.csv, row 8, column 'b': a label must be 0"):
        find_labels(table, "text", PATH)


def test_of_other_columns_it_is_known_why_they_are_left_out() -> None:
    others = {
        "id": [str(i) for i in range(N)],
        "language": ["no"] * N,
        "tags": ["tea;sea", "tea"] * (N // 2),
        "topic": ["tea", "sea"] * (N // 2),
        "note": [""] * N,
    }
    names, left_out = find_labels(_table(a=BINARY, **others), "text", PATH)
    assert names == ("a",)
    assert left_out == (
        LeftOut("id", "40 different values"),
        LeftOut("language", "'no' in every row"),
        LeftOut("tags", "several labels a cell"),
        LeftOut("topic", "2 different values, like classes"),
        LeftOut("note", "empty"),
    )


@pytest.mark.parametrize(
    ("yes", "no"), [("True", "False"), ("yes", "No "), ("t", "f"), ("Y", "N"), ("1.0", "0.0")]
)
def test_words_for_one_and_zero_are_a_label_and_one_pair_of_them_a_column(
    yes: str, no: str
) -> None:
    table = _table(a=BINARY, b=[no, yes] * (N // 2))
    assert find_labels(table, "text", PATH) == (("a", "b"), ())
    assert label_values(table["b"]).tolist() == [0, 1] * (N // 2)
    slip = _table(b=[*[no, yes] * (N // 2 - 1), no, "on"])
    with pytest.raises(InputError, match=f"row {N}, column 'b': a label must be .*, but is 'on'"):
        find_labels(slip, "text", PATH)


def test_what_words_mean_is_said_where_there_are_any() -> None:
    words = {"b": ["Yes", "no"] * (N // 2), "c": ["no", "yes"] * (N // 2)}
    table = _table(a=BINARY, **words)
    assert describe_words(table, ["a", "b", "c"]) == "yes = 1, no = 0 in 'b', 'c'"
    assert describe_words(table, ["b", "c"]) == "yes = 1, no = 0 in all labels"
    assert describe_words(table, ["a"]) == ""


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["tea;sea", "tea"], "'a' .several labels a cell.. .*: --list-column a"),
        (["tea", "sea"], "'a' .2 different .* Name a column of classes with --class-column a"),
    ],
)
def test_without_labels_the_advice_is_for_what_there_is(cells: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_labels(_table(a=cells * (N // 2)), "text", PATH)
