from dataclasses import replace

import numpy as np
import pytest

from shared.training.params import HeadParams
from shared.training.snapshot import Snapshot, from_bytes, to_bytes
from shared.training.trainer import Trainer
from tests.shared_tests.training.conftest import MakeTrainer, epochs_of
from workers import SearchArrays

N_EPOCHS = 8


def _add(
    trainer: Trainer, params: HeadParams, arrays: SearchArrays, kept: Snapshot | None = None
) -> None:
    trainer.add(0, params, 1, *arrays.folds[0], kept)


@pytest.mark.usefixtures("padding")
@pytest.mark.parametrize("optimizer", ["adam", "nadam"])
@pytest.mark.parametrize("batch_normalization", [False, True])
def test_a_head_goes_on_from_its_snapshot_as_if_nothing_had_been(
    make_trainer: MakeTrainer,
    params: HeadParams,
    arrays: SearchArrays,
    optimizer,
    batch_normalization: bool,
) -> None:
    params = replace(params, optimizer=optimizer, batch_normalization=batch_normalization)
    whole, cut, rest = (make_trainer(2, max_epochs=N_EPOCHS) for _ in range(3))
    _add(whole, params, arrays)
    expected = [epoch.value for epoch in epochs_of(whole)[0]]
    _add(cut, params, arrays)
    values = [epoch.value for _ in range(3) for epoch in cut.advance()]
    snapshot, facts = from_bytes(to_bytes(cut.snapshot(0), {"values": values}))
    if not batch_normalization:
        # A neighbour moves it to another slot of another pack. Before normalising, a bias has no
        # gradient but the rounding of its program, which Adam makes as large as any.
        rest.add(7, params, 2, *arrays.folds[0])
    _add(rest, params, arrays, snapshot)
    epochs = epochs_of(rest)[0]
    assert epochs[0].step == len(facts["values"])
    found = facts["values"] + [epoch.value for epoch in epochs]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for ours, theirs in zip(rest.weights(0), whole.weights(0), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
