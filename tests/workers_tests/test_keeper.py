import threading
import time
from pathlib import Path

import pytest

from shared.store import Store
from shared.training.params import HeadParams
from shared.training.snapshot import Snapshot
from shared.training.trainer import Trainer
from workers import SearchArrays, keeper
from workers.checkpoint import Identity, read_checkpoint
from workers.keeper import Keeper

IDENTITY = Identity("uuid", origin=7, fold=0, params_hash="hash", fingerprint="data")


@pytest.fixture
def snapshot(trainer: Trainer, params: HeadParams, arrays: SearchArrays) -> Snapshot:
    trainer.add(0, params, 1, *arrays.folds[0])
    trainer.advance()
    return trainer.snapshot(0)


def _values(store: Store, trial_id: int) -> dict[int, float] | None:
    kept = read_checkpoint(store, trial_id, IDENTITY)
    return None if kept is None else kept.values


def test_a_keeper_writes_and_removes_in_order(tmp_path: Path, snapshot: Snapshot) -> None:
    store = Store(str(tmp_path))
    opened = Keeper(store, "uuid")
    opened.write(3, IDENTITY, snapshot, {0: 0.5})
    opened.write(4, IDENTITY, snapshot, {0: 0.25})
    opened.remove([3, 5])
    opened.finish()
    assert not opened.is_busy
    assert (_values(store, 3), _values(store, 4)) == (None, {0: 0.25})
    opened.remove([4])
    opened.close()
    assert _values(store, 4) is None


def test_a_keeper_keeps_what_was_known_when_it_was_told(tmp_path: Path, snapshot: Snapshot) -> None:
    store, values = Store(str(tmp_path)), {0: 0.5}
    opened = Keeper(store, "uuid")
    for _ in range(20):
        opened.write(3, IDENTITY, snapshot, values)
    values[1] = 0.25
    opened.close()
    assert _values(store, 3) == {0: 0.5}


def test_a_store_that_never_answers_holds_nobody_up_for_long(
    tmp_path: Path,
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(keeper, "FINISH_TIMEOUT_S", 0.5)
    monkeypatch.setattr(keeper, "write_checkpoint", lambda *_: answers.wait())
    opened, started_s = Keeper(Store(str(tmp_path)), "uuid"), time.monotonic()
    for trial_id in range(3):
        opened.write(trial_id, IDENTITY, snapshot, {0: 0.5})
    opened.finish()
    opened.close()
    assert time.monotonic() - started_s < 5
    assert caplog.text.count("does not answer: what 3 tasks were to write") == 1
    answers.set()


def test_an_error_that_is_not_the_stores_is_raised(
    tmp_path: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "write_checkpoint", lambda *_: 1 / 0)
    opened = Keeper(Store(str(tmp_path)), "uuid")
    opened.write(3, IDENTITY, snapshot, {0: 0.5})
    with pytest.raises(ZeroDivisionError):
        opened.close()
    with pytest.raises(ZeroDivisionError):
        opened.remove([3])
