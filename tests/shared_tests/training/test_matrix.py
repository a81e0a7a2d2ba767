from dataclasses import replace

import numpy as np
import pytest

from shared.training.matrix import Matrix
from shared.training.params import HeadParams, InputParams
from shared.training.trainer import Trainer
from tests.shared_tests.training.conftest import WIDTHS, MakeTrainer, epochs_of
from workers import SearchArrays

FIRST = InputParams(("first",), standardize=True)
BOTH = InputParams(("first", "second"), l2_normalize=True)


def _matrix(arrays: SearchArrays, max_bytes: int | None = None) -> Matrix:
    return Matrix(
        arrays.vectors,
        arrays.labels,
        max_bytes=max_bytes,
        widths=WIDTHS,
        known_rows=arrays.folds[0][0],
        inputs=(FIRST, BOTH),
    )


def _values(trainer: Trainer, arrays: SearchArrays, *heads: HeadParams) -> list[list[float]]:
    for key, params in enumerate(heads):
        trainer.add(key, params, 7, *arrays.folds[0])
    found = epochs_of(trainer)
    return [[epoch.value for epoch in found[key]] for key in range(len(heads))]


def test_all_ways_of_reading_share_the_memory(arrays: SearchArrays) -> None:
    n_bytes = 160 * 4 * (8 + 3)
    assert _matrix(arrays, 2 * n_bytes).shards(BOTH).is_resident
    assert _matrix(arrays, 2 * n_bytes - 2).shards(BOTH).n_shards == 3
    assert _matrix(arrays).n_inputs == 8


@pytest.mark.usefixtures("padding")
def test_heads_that_read_differently_train_together_as_each_alone_on_what_it_reads(
    params: HeadParams, make_trainer: MakeTrainer, arrays: SearchArrays
) -> None:
    matrix = _matrix(arrays)
    heads = [replace(params, inputs=inputs) for inputs in (FIRST, BOTH, FIRST)]
    together = _values(make_trainer(3, matrix, max_epochs=5), arrays, *heads)
    for values, head in zip(together, heads, strict=True):
        read = matrix.reading(head.inputs)(arrays.vectors)
        alone = make_trainer(1, Matrix(read, arrays.labels), max_epochs=5)
        (expected,) = _values(alone, arrays, replace(head, inputs=InputParams()))
        np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_inputs_that_do_not_fit_are_streamed_each_in_its_turn(
    params: HeadParams, make_trainer: MakeTrainer, arrays: SearchArrays
) -> None:
    trainer = make_trainer(4, _matrix(arrays, 2000), max_epochs=3)
    heads = [replace(params, inputs=FIRST), replace(params, inputs=BOTH)]
    heads += [replace(heads[0], layers=params.layers[:1])]
    for key, head in enumerate(heads):
        trainer.add(key, head, 7, *arrays.folds[0])
    for _ in range(3):
        assert [epoch.key for epoch in trainer.advance()] == [0, 2, 1]
    assert trainer.logits(1, arrays.folds[0][1]).shape == (40, 3)
