import io
from pathlib import Path

import pandas as pd
import pytest

from orchestrator.data.dataset import Dataset, load_dataset, load_labelled
from shared.config.sections import DataConfig
from shared.errors import InputError

LISTS = [["tea", "sea"], ["tea"], [], ["sea"]]
PLAIN = b"text,sea,tea\nx,1,1\ny,0,1\nz,0,0\nw,1,0\n"


def _csv(cells: list[str]) -> bytes:
    return pd.DataFrame({"text": list("xyzw"), "tags": cells}).to_csv(index=False).encode()


def _load(tmp_path: Path, content: bytes, **settings: object) -> Dataset:
    path = tmp_path / "some.data"
    path.write_bytes(content)
    return load_dataset(DataConfig(csv=path, **settings))


def _parquet() -> bytes:
    file = io.BytesIO()
    pd.DataFrame({"text": list("xyzw"), "tags": LISTS}).to_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_csv([";".join(one) for one in LISTS]), "separated by ';'"),
        (_csv([", ".join(one) for one in LISTS]), "separated by ','"),
        (_csv(["|".join(one) for one in LISTS]), "separated by '|'"),
        (_csv([str(one) for one in LISTS]), "as lists"),
        (_csv([str(one).replace("'", '"') for one in LISTS]), "as lists"),
        (_parquet(), "as lists"),
        (
            pd.DataFrame({"text": list("xyzw"), "tags": LISTS})
            .to_json(orient="records", lines=True)
            .encode(),
            "as lists",
        ),
    ],
)
def test_labels_that_one_column_lists_are_those_of_a_column_each(
    tmp_path: Path, content: bytes, said: str
) -> None:
    found = _load(tmp_path, content, list_column="tags")
    assert found.fingerprint == _load(tmp_path, PLAIN).fingerprint
    assert found.label_form == f"'tags' lists labels, {said}"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["tea;sea", "a|b", "tea", ""], "may be separated by ';' or by '|'. .* JSON list"),
        (["['tea' 'sea']", "[]", "", ""], "row 1, column 'tags': a list must be .* but is"),
        (["[]", "[tea]", "", ""], "row 2, column 'tags': a list must be"),
        (["[]", "", "", ""], "column 'tags' lists no label in any row"),
        (["tea", "tea", "tea", "tea"], "column 'tea' is 1 in every row"),
    ],
)
def test_lists_that_cannot_be_read_are_named(
    tmp_path: Path, cells: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=f"some.data.*{message}"):
        _load(tmp_path, _csv(cells), list_column="tags")


def test_known_labels_are_read_from_lists_or_where_there_are_none_from_their_columns(
    tmp_path: Path,
) -> None:
    path = tmp_path / "new.csv"
    config = DataConfig(csv=path, list_column="tags")
    for content in (
        _csv(["tea", "tea;sea", "", ""]),
        b"text,sea,tea\nx,0,1\ny,1,1\nz,0,0\nw,0,0\n",
    ):
        path.write_bytes(content)
        found = load_labelled(config, ("sea", "tea"))
        assert found.labels.tolist() == [[0, 1], [1, 1], [0, 0], [0, 0]]
    path.write_bytes(_csv(["tea", "tea;sea", "", ""]))
    with pytest.raises(InputError, match="row 2, column 'tags': 'sea' is none of the known labels"):
        load_labelled(config, ("tea",))
