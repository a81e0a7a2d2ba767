from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.data.stored import ENCODER, keep_data, restore
from orchestrator.runs.run import Run, define_run
from shared.config.sweep import SweepConfig, parse_config, with_values
from shared.encoding.encoder import resolve_encoder
from shared.errors import InputError
from shared.store import Store
from shared.study.attributes import LABELS, STORE
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage
from workers import SearchArrays

TEXTS = [f"text {i}" for i in range(160)]


@pytest.fixture
def elsewhere(
    storage: StudyStorage, postgres_url: str, study_name: str, tmp_path: Path, arrays: SearchArrays
) -> Run:
    """Return a run by the name of a study alone, whose CSV is on another machine."""
    values = {"study": {"name": study_name}, "data": {"csv": tmp_path / "not-here.csv"}}
    config = with_values(SweepConfig(), values)
    parts = {ENCODER: resolve_encoder(config.encoder).revision}
    study = open_study(storage, study_name, config, "f", parts)
    study.set_user_attr(STORE, str(tmp_path / "store"))
    study.set_user_attr(LABELS, ["a", "b", "c"])
    keep_data(Store(str(tmp_path / "store")), "f", TEXTS, arrays)
    return define_run(None, None, postgres_url, {"study": {"name": study_name}})


def test_a_study_is_taken_up_with_nothing_but_its_store(
    elsewhere: Run, arrays: SearchArrays
) -> None:
    restored = restore(elsewhere)
    assert restored
    dataset, _, embeddings = restored
    assert (list(dataset.texts), dataset.label_names) == (TEXTS, ("a", "b", "c"))
    np.testing.assert_array_equal(dataset.labels, arrays.labels)
    (embedded,) = embeddings.values()
    np.testing.assert_array_equal(embedded.vectors, arrays.vectors)


def test_each_of_several_encoders_gets_its_vectors_back(
    storage: StudyStorage, postgres_url: str, study_name: str, tmp_path: Path, arrays: SearchArrays
) -> None:
    encoders = ["all-MiniLM-L6-v2", {"max_seq_length": 64}]
    config = parse_config({"encoders": encoders, "study": {"name": study_name}}, "here")
    revision = resolve_encoder(config.encoder).revision
    parts = {f"{ENCODER}: {name}": revision for name in config.all_encoders}
    study = open_study(storage, study_name, config, "f", parts)
    study.set_user_attr(STORE, str(tmp_path / "store"))
    study.set_user_attr(LABELS, ["a", "b", "c"])
    keep_data(Store(str(tmp_path / "store")), "f", TEXTS, replace(arrays, widths=(3, 5)))
    restored = restore(define_run(None, None, postgres_url, {"study": {"name": study_name}}))
    assert restored
    _, found, embeddings = restored
    assert [one.max_seq_length for one in found.values()] == [None, 64]
    assert [one.vectors.shape[1] for one in embeddings.values()] == [3, 5]
    together = np.hstack([one.vectors for one in embeddings.values()])
    np.testing.assert_array_equal(together, arrays.vectors)


def test_a_store_out_of_reach_is_a_clear_error(elsewhere: Run, tmp_path: Path) -> None:
    (tmp_path / "store").rename(tmp_path / "away")
    with pytest.raises(InputError, match="its data cannot be read: .*/store has no arrays/f"):
        restore(elsewhere)


@pytest.mark.parametrize("folder", ["texts", "arrays"])
def test_data_that_is_torn_is_a_clear_error_and_written_again_by_who_has_it(
    elsewhere: Run, tmp_path: Path, arrays: SearchArrays, folder: str
) -> None:
    (path,) = (tmp_path / "store" / folder).iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"{folder}/.* is torn: .* Name the CSV with --data"):
        restore(elsewhere)
    keep_data(elsewhere.store, "f", TEXTS, arrays)
    restored = restore(elsewhere)
    assert restored
    assert list(restored[0].texts) == TEXTS


def test_a_csv_that_was_named_is_not_replaced_by_the_store(elsewhere: Run, tmp_path: Path) -> None:
    options = {"study": {"name": elsewhere.study_name}, "data": {"csv": tmp_path / "typo.csv"}}
    assert define_run(None, None, elsewhere.storage_url, options).config.data.csv


def test_without_a_searched_study_there_is_nothing_to_restore(
    elsewhere: Run, postgres_url: str
) -> None:
    assert restore(Run(elsewhere.paths, SweepConfig())) is None
    other = with_values(elsewhere.config, {"study": {"name": "no such study"}})
    assert restore(Run(elsewhere.paths, other, postgres_url)) is None
