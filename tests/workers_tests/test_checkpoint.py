from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec import get_filesystem_class

from shared.store import Store
from shared.training.params import HeadParams
from shared.training.snapshot import Snapshot
from shared.training.trainer import Trainer
from workers import SearchArrays
from workers.checkpoint import (
    Identity,
    find_checkpoint,
    hash_of_params,
    name_of,
    read_checkpoint,
    remove_checkpoints,
    write_checkpoint,
)
from workers.folds import FoldOutcome

IDENTITY = Identity("uuid", origin=7, fold=0, params_hash="hash", fingerprint="data")


@pytest.fixture
def snapshot(trainer: Trainer, params: HeadParams, arrays: SearchArrays) -> Snapshot:
    trainer.add(0, params, 1, *arrays.folds[0])
    trainer.advance()
    return trainer.snapshot(0)


@pytest.mark.parametrize("scheme", ["", "file://", "memory:/"])
def test_a_checkpoint_reads_as_it_was_written(
    scheme: str, tmp_path: Path, snapshot: Snapshot
) -> None:
    store, fold = Store(f"{scheme}{tmp_path}/checkpoints"), FoldOutcome(3, {"ap_macro": 0.5})
    for value in (0.7, 0.5):
        write_checkpoint(store, 3, IDENTITY, snapshot, {0: value}, [fold])
    kept = read_checkpoint(store, 3, IDENTITY)
    assert kept
    assert (kept.values, kept.folds) == ({0: 0.5}, [fold])
    assert kept.snapshot.progress == snapshot.progress
    assert kept.snapshot.random == snapshot.random
    for ours, theirs in zip(kept.snapshot.best, snapshot.best, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_there_is_none_of_an_unknown_or_removed_trial(tmp_path: Path, snapshot: Snapshot) -> None:
    store = Store(str(tmp_path))
    write_checkpoint(store, 3, IDENTITY, snapshot, {0: 0.5})
    assert read_checkpoint(store, 4, IDENTITY) is None
    for _ in range(2):
        remove_checkpoints(store, "uuid", [3, 4])
    assert read_checkpoint(store, 3, IDENTITY) is None
    assert not list(tmp_path.glob("checkpoints/*/*"))


@pytest.mark.parametrize(
    "other",
    [{"origin": 8}, {"params_hash": "other"}, {"fingerprint": "other"}, {"format": 2}],
    ids=str,
)
def test_a_checkpoint_of_something_else_is_none(
    other: dict[str, Any], tmp_path: Path, snapshot: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(str(tmp_path))
    write_checkpoint(store, 3, replace(IDENTITY, **other), snapshot, {0: 0.5})
    assert read_checkpoint(store, 3, IDENTITY) is None
    assert f"trial id 3 is not used: other {next(iter(other))}" in caplog.text


def test_one_under_the_id_of_another_studys_trial_is_not_found_nor_used_when_it_is_put_there(
    tmp_path: Path, snapshot: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    store, other = Store(str(tmp_path)), replace(IDENTITY, study_uuid="another")
    write_checkpoint(store, 3, other, snapshot, {0: 0.5})
    assert read_checkpoint(store, 3, IDENTITY) is None
    store.write(name_of("uuid", 3), store.read(name_of("another", 3)))
    assert read_checkpoint(store, 3, IDENTITY) is None
    assert "not used: other study_uuid" in caplog.text


def test_the_first_that_can_be_used_is_found(tmp_path: Path, snapshot: Snapshot) -> None:
    store = Store(str(tmp_path))
    write_checkpoint(store, 5, replace(IDENTITY, origin=1), snapshot, {0: 0.5})
    write_checkpoint(store, 4, IDENTITY, snapshot, {0: 0.25})
    kept = find_checkpoint(store, [6, 5, 4], IDENTITY)
    assert kept
    assert kept.values == {0: 0.25}
    assert find_checkpoint(store, [6, 5], IDENTITY) is None


@pytest.mark.parametrize("n_bytes", [0, 9, 500, -1])
def test_a_torn_one_is_as_none(
    n_bytes: int, tmp_path: Path, snapshot: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(str(tmp_path))
    write_checkpoint(store, 3, IDENTITY, snapshot, {0: 0.5})
    store.write(name_of("uuid", 3), store.read(name_of("uuid", 3))[:n_bytes])
    assert read_checkpoint(store, 3, IDENTITY) is None
    assert "checkpoint of trial id 3 cannot be read" in caplog.text
    assert "is torn" in caplog.text


def test_a_store_that_is_away_costs_epochs_and_no_search(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_MAX_ATTEMPTS"):
        monkeypatch.setenv(name, "1")
    get_filesystem_class("s3").clear_instance_cache()
    assert find_checkpoint(Store("s3://away/store"), [3, 2, 1], IDENTITY) is None
    get_filesystem_class("s3").clear_instance_cache()
    said = "A trial starts anew: The store s3://away/store cannot be used from here"
    assert caplog.text.count(said) == 1


def test_the_hash_is_that_of_all_hyperparameters(params: HeadParams) -> None:
    others = [replace(params, learning_rate=params.learning_rate + 1e-12), replace(params, loss="")]
    assert len({hash_of_params(one) for one in [params, *others]}) == 3
    assert hash_of_params(replace(params)) == hash_of_params(params)
