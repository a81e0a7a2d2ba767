from pathlib import Path

import numpy as np
import pytest

from shared.training.params import HeadParams
from shared.training.snapshot import Snapshot
from shared.training.trainer import Trainer
from workers import SearchArrays
from workers.checkpoint import Keeper, read_checkpoint, remove_checkpoint, write_checkpoint


@pytest.fixture
def snapshot(trainer: Trainer, params: HeadParams, arrays: SearchArrays) -> Snapshot:
    trainer.add(0, params, 1, *arrays.folds[0])
    trainer.advance()
    return trainer.snapshot(0)


@pytest.mark.parametrize("scheme", ["", "file://", "memory:/"])
def test_a_checkpoint_reads_as_it_was_written(
    scheme: str, tmp_path: Path, snapshot: Snapshot
) -> None:
    store = f"{scheme}{tmp_path}/checkpoints"
    for value in (0.7, 0.5):
        write_checkpoint(store, 3, snapshot, {0: value})
    kept = read_checkpoint(store, 3)
    assert kept
    assert kept.values == {0: 0.5}
    assert kept.snapshot.progress == snapshot.progress
    assert kept.snapshot.random == snapshot.random
    for ours, theirs in zip(kept.snapshot.best, snapshot.best, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_there_is_none_of_an_unknown_or_removed_trial(tmp_path: Path, snapshot: Snapshot) -> None:
    write_checkpoint(str(tmp_path), 3, snapshot, {0: 0.5})
    assert read_checkpoint(str(tmp_path), 4) is None
    remove_checkpoint(str(tmp_path), 3)
    remove_checkpoint(str(tmp_path), 3)
    assert read_checkpoint(str(tmp_path), 3) is None
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half of one"])
def test_a_damaged_one_is_as_none(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "trial-3.npz").write_bytes(content)
    assert read_checkpoint(str(tmp_path), 3) is None
    assert "Checkpoint 3 in" in caplog.text


def test_a_keeper_writes_and_removes_in_order(tmp_path: Path, snapshot: Snapshot) -> None:
    keeper = Keeper(str(tmp_path))
    keeper.write(3, snapshot, {0: 0.5})
    keeper.write(4, snapshot, {0: 0.25})
    keeper.remove([3, 5])
    keeper.close()
    assert not keeper.is_busy
    assert read_checkpoint(str(tmp_path), 3) is None
    kept = read_checkpoint(str(tmp_path), 4)
    assert kept
    assert kept.values == {0: 0.25}


def test_a_keeper_keeps_what_was_known_when_it_was_told(tmp_path: Path, snapshot: Snapshot) -> None:
    keeper, values = Keeper(str(tmp_path)), {0: 0.5}
    for _ in range(20):
        keeper.write(3, snapshot, values)
    values[1] = 0.25
    keeper.close()
    kept = read_checkpoint(str(tmp_path), 3)
    assert kept
    assert kept.values == {0: 0.5}
