import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from orchestrator.data.prepare import Prepared, prepare
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run, define_run
from shared.config.sweep import with_values
from shared.errors import InputError
from tests.tiny_encoder import write_tiny_encoder


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the folders of two encoders, of 3 and 5 columns."""
    folder = tmp_path_factory.mktemp("encoders")
    return [str(write_tiny_encoder(folder / str(width), width)) for width in (3, 5)]


@pytest.fixture(scope="module")
def run(checkout: Path, names: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    options = {"data": {"csv": checkout / "examples" / "reviews.csv"}}
    one = define_run(None, tmp_path_factory.mktemp("run"), None, options)
    return Run(one.paths, one.config.model_copy(update={"encoders": _encoders(one, names)}))


def _encoders(run: Run, names: list[str]) -> tuple[object, ...]:
    return tuple(run.config.encoder.model_copy(update={"name": name}) for name in names)


@pytest.fixture(scope="module")
def prepared(run: Run) -> Prepared:
    return prepare(run, Console(quiet=True))


def test_each_encoder_embeds_the_texts_once_and_their_vectors_lie_side_by_side(
    run: Run, prepared: Prepared, names: list[str]
) -> None:
    assert prepared.widths == dict(zip(names, (3, 5), strict=True))
    assert prepared.vectors.shape == (len(prepared.dataset.texts), 8)
    for name, columns in zip(names, (slice(0, 3), slice(3, 8)), strict=True):
        vectors = prepared.embeddings[name].vectors
        np.testing.assert_array_equal(prepared.vectors[:, columns], vectors)
    before = {path: path.stat().st_mtime_ns for path in run.paths.embeddings.iterdir()}
    assert prepare(run, Console(quiet=True)).fingerprint == prepared.fingerprint
    assert {path: path.stat().st_mtime_ns for path in run.paths.embeddings.iterdir()} == before


def test_what_is_taken_is_shown_before_it_is_embedded(run: Run) -> None:
    file = io.StringIO()
    prepare(run, Console(file=file, width=300))
    lines = file.getvalue().splitlines()
    titles = [line.split()[0] for line in lines]
    assert titles[:3] == ["Data", "Labels", "Encoder"]
    assert titles.index("Encoder") < titles.index("Embedding:") < titles.index("Split")
    assert "3,000 rows" in lines[0]


def test_texts_that_an_encoder_does_not_tell_apart_are_counted_and_stay_together(
    run: Run, names: list[str], tmp_path: Path
) -> None:
    table = pd.read_csv(run.config.data.csv[0], nrows=400)
    twins = table.assign(text=table["text"].str.upper() + " ")
    pd.concat([table, twins[:100]]).to_csv(tmp_path / "twins.csv", index=False)
    values = {"data": {"csv": tmp_path / "twins.csv"}}
    config = with_values(run.config.model_copy(update={"encoders": ()}), values)
    config = config.model_copy(update={"encoders": _encoders(run, names[1:])})
    console = Console(record=True, quiet=False, file=io.StringIO(), width=200)
    found = prepare(Run(RunPaths(tmp_path / "run"), config), console)
    told = console.export_text()
    assert "Texts that repeat another but for case" in told
    assert ": 100 of 500. They stay on its side of every split." in told
    parts = [found.split.train, found.split.valid, found.split.test]
    plain = [{found.dataset.texts[row].strip().lower() for row in part} for part in parts]
    assert sum(map(len, plain)) == 400


def test_what_one_encoder_makes_is_no_copy(prepared: Prepared, names: list[str]) -> None:
    second = prepared.only(names[1:])
    assert second.vectors is prepared.embeddings[names[1]].vectors
    assert second.widths == {names[1]: 5}
    assert prepared.only(names) is prepared


def test_the_fingerprint_is_that_of_all_encoders_in_their_order(
    prepared: Prepared, names: list[str]
) -> None:
    orders = (names, names[::-1], names[:1], names[1:])
    assert len({prepared.only(order).fingerprint for order in orders}) == 4
    assert [part for part in prepared.parts if "encoder" in part] == [
        f"the encoder's files: {name}" for name in names
    ]
    assert "the encoder's files" in prepared.only(names[:1]).parts


def test_rows_that_nothing_can_be_measured_on_are_refused(
    run: Run, names: list[str], tmp_path: Path
) -> None:
    table = pd.DataFrame({"text": [f"text {i}" for i in range(200)], "rare": 0})
    table.loc[:7, "rare"] = 1
    table.to_csv(tmp_path / "rare.csv", index=False)
    values = {"data": {"csv": tmp_path / "rare.csv", "test_fraction": 0.05}}
    small = with_values(run.config.model_copy(update={"encoders": ()}), values)
    small = small.model_copy(update={"encoders": _encoders(run, names[:1])})
    with pytest.raises(
        InputError, match=r"test split must have .* none of the 10 has\. Raise data\.test"
    ):
        prepare(Run(RunPaths(tmp_path), small), Console(quiet=True))


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ({"test_fraction": 0.999}, "leaves . for 5 folds"),
        ({"valid_fraction": 0.9999}, "leaves 0 of these to train on"),
    ],
)
def test_parts_that_leave_nothing_are_refused_before_anything_is_embedded(
    run: Run, values: dict[str, float], left: str
) -> None:
    with pytest.raises(InputError, match=left):
        prepare(replace(run, config=with_values(run.config, {"data": values})), Console(quiet=True))


def test_two_names_of_one_encoder_are_refused(run: Run) -> None:
    same = ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"]
    twice = run.config.model_copy(update={"encoders": _encoders(run, same)})
    with pytest.raises(InputError, match="'all-MiniLM-L6-v2' and .* are the same encoder"):
        prepare(Run(run.paths, twice), Console(quiet=True))
