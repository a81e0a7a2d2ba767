import logging
from typing import Any

import numpy as np
import pytest

from shared.training.backends import current_backend
from shared.training.params import HeadParams
from shared.training.program.step import State
from shared.training.trainer import Trainer
from tests.shared_tests.training.conftest import MakeTrainer, epochs_of
from workers import SearchArrays


def _add(trainer: Trainer, arrays: SearchArrays, *heads: HeadParams) -> None:
    for i, params in enumerate(heads):
        trainer.add(i, params, i, *arrays.folds[0])


def test_out_of_memory_halves_the_slots_and_loses_no_head_and_no_epoch(
    params: HeadParams,
    make_trainer: MakeTrainer,
    arrays: SearchArrays,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = current_backend()
    train, n_calls = backend.train, 0

    def fail_with_many_slots(state, slots, *rest: Any) -> State:
        nonlocal n_calls
        n_calls += 1
        if n_calls > 3 and slots.order.shape[0] > 2:
            raise MemoryError
        return train(state, slots, *rest)

    monkeypatch.setattr(backend, "train", fail_with_many_slots)
    monkeypatch.setattr(backend, "is_out_of_memory", lambda e: isinstance(e, MemoryError))
    undisturbed, trainer = make_trainer(1, max_epochs=4), make_trainer(4, max_epochs=4)
    _add(undisturbed, arrays, params)
    _add(trainer, arrays, *[params] * 4)
    found: dict[object, list[float]] = {i: [] for i in range(4)}
    with caplog.at_level(logging.WARNING):
        while trainer.n_heads:
            for epoch in trainer.advance():
                found[epoch.key].append(epoch.value)
                if epoch.ending:
                    trainer.remove(epoch.key)
    assert "does not hold 4 heads at a time; going on with 2" in caplog.text
    assert trainer.n_slots == 2
    assert [len(values) for values in found.values()] == [4] * 4
    expected = [epoch.value for epoch in epochs_of(undisturbed)[0]]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_a_head_that_waits_for_memory_has_nothing_to_keep_and_may_be_removed(
    params: HeadParams,
    make_trainer: MakeTrainer,
    arrays: SearchArrays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = current_backend()
    train = backend.train

    def fail_with_two(state, slots, *rest: Any) -> State:
        if slots.order.shape[0] > 1:
            raise MemoryError
        return train(state, slots, *rest)

    monkeypatch.setattr(backend, "train", fail_with_two)
    monkeypatch.setattr(backend, "is_out_of_memory", lambda e: isinstance(e, MemoryError))
    trainer = make_trainer(2)
    _add(trainer, arrays, params, params)
    trainer.advance()
    assert trainer.snapshot(0) is not None
    assert trainer.snapshot(1) is None
    trainer.remove(1)
    assert trainer.n_heads == 1
    assert {epoch.key for epoch in trainer.advance()} == {0}


def test_out_of_memory_for_new_heads_halves_the_slots_too(
    params: HeadParams,
    make_trainer: MakeTrainer,
    arrays: SearchArrays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = current_backend()
    take_rows = backend.take_rows

    def fail_with_four(rows_of: Any, rows: Any) -> Any:
        if len(rows) > 2:
            raise MemoryError
        return take_rows(rows_of, rows)

    monkeypatch.setattr(backend, "take_rows", fail_with_four)
    monkeypatch.setattr(backend, "is_out_of_memory", lambda e: isinstance(e, MemoryError))
    trainer = make_trainer(4, max_epochs=2)
    _add(trainer, arrays, *[params] * 4)
    keys = set()
    while trainer.n_heads:
        for epoch in trainer.advance():
            keys.add(epoch.key)
            if epoch.ending:
                trainer.remove(epoch.key)
    assert trainer.n_slots == 2
    assert keys == {0, 1, 2, 3}


def test_one_head_that_does_not_fit_is_a_clear_error(
    params: HeadParams,
    make_trainer: MakeTrainer,
    arrays: SearchArrays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(current_backend(), "train", fail)
    monkeypatch.setattr(current_backend(), "is_out_of_memory", lambda _: True)
    trainer = make_trainer()
    _add(trainer, arrays, params)
    with pytest.raises(MemoryError, match="Lower space.max_units"):
        trainer.advance()
