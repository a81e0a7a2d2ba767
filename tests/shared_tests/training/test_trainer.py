from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shared.config.sections import TrainingConfig
from shared.training.backends import current_backend
from shared.training.head import build_head
from shared.training.matrix import Matrix
from shared.training.pack import Pack
from shared.training.params import HeadParams, InputParams, LayerParams
from shared.training.schedule import MIN_DELTA, Ending
from shared.training.trainer import Trainer
from tests.shared_tests.training.conftest import MakeTrainer, epochs_of
from tests.shared_tests.training.reference import heads, keras_values
from workers import SearchArrays

LONG = settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
COARSE = {"max_epochs": 30, "min_learning_rate": 1e-3}
"""Rates that keep the loss moving: where it creeps, rounding would decide when a head stops."""


def _add(trainer: Trainer, arrays: SearchArrays, *heads: HeadParams, first_seed: int = 0) -> None:
    for i, params in enumerate(heads):
        trainer.add(i, params, first_seed + i, *arrays.folds[0])


def _values(trainer: Trainer) -> dict[object, list[float]]:
    return {key: [e.value for e in epochs] for key, epochs in epochs_of(trainer).items()}


@pytest.mark.usefixtures("padding")
@LONG
@given(
    packed=st.lists(heads(learning_rate=st.sampled_from([3e-3, 1e-2])), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_values_and_stop_are_those_of_a_keras_sequential(
    packed, seed: int, make_trainer: MakeTrainer, arrays: SearchArrays
) -> None:
    config = TrainingConfig(**COARSE)
    trainer = make_trainer(4, **COARSE)
    _add(trainer, arrays, *packed, first_seed=seed)
    for i, values in _values(trainer).items():
        expected = keras_values(packed[int(str(i))], seed + int(str(i)), arrays, config)
        n_compared = min(10, len(expected))
        np.testing.assert_allclose(values[:n_compared], expected[:n_compared], rtol=1e-4)
        assert len(values) == len(expected) or _is_close_call(expected)


def _is_close_call(values: list[float]) -> bool:
    """Say whether an epoch was as good as the best one but for rounding."""
    best = np.minimum.accumulate(values)[:-1]
    changes = np.array(values[1:]) - best
    return bool(np.any(np.abs(changes) < 2e-6) or np.any(np.abs(changes + MIN_DELTA) < 2e-6))


@pytest.mark.usefixtures("padding")
@pytest.mark.parametrize(
    "change",
    [
        {"batch_normalization": True},
        {"optimizer": "nadam", "weight_decay": 0.01},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "rmsprop"},
        {"optimizer": "sgd", "learning_rate": 0.5},
        {"loss": "focal", "label_smoothing": 0.1},
    ],
    ids=lambda change: next(iter(change.values())),
)
def test_each_option_trains_as_in_keras(
    params: HeadParams, change, make_trainer: MakeTrainer, arrays: SearchArrays
) -> None:
    layers = tuple(replace(layer, dropout=0.0) for layer in params.layers)
    params = replace(params, layers=layers, **change)
    trainer = make_trainer(max_epochs=8)
    _add(trainer, arrays, params)
    expected = keras_values(params, 0, arrays, TrainingConfig(max_epochs=8))
    np.testing.assert_allclose(_values(trainer)[0], expected, rtol=1e-3)


@pytest.mark.parametrize("change", [{"loss": "focal"}, {"optimizer": "rmsprop"}], ids=str)
def test_classes_train_as_in_keras(
    params: HeadParams, change, make_trainer: MakeTrainer, class_arrays: SearchArrays
) -> None:
    layers = tuple(replace(layer, dropout=0.0) for layer in params.layers)
    params = replace(params, layers=layers, task="multiclass", label_smoothing=0.1, **change)
    trainer = make_trainer(1, Matrix(class_arrays.vectors, class_arrays.labels), max_epochs=8)
    _add(trainer, class_arrays, params)
    expected = keras_values(params, 0, class_arrays, TrainingConfig(max_epochs=8))
    np.testing.assert_allclose(_values(trainer)[0], expected, rtol=1e-3)


def _varied(params: HeadParams) -> list[HeadParams]:
    return [
        params,
        replace(params, batch_size=9, layers=(LayerParams(20, "linear", 0.4),)),
        replace(params, learning_rate=1e-3, layers=(LayerParams(12, "swish", 0.2),)),
    ]


@pytest.mark.usefixtures("padding")
def test_permuting_the_slots_permutes_the_results(
    params: HeadParams, make_trainer: MakeTrainer, arrays: SearchArrays
) -> None:
    found = []
    for order in permutations(range(3)):
        trainer = make_trainer(3, max_epochs=6)
        for i in order:
            trainer.add(i, _varied(params)[i], i, *arrays.folds[0])
        found.append(_values(trainer))
    for other in found[1:]:
        for i in range(3):
            np.testing.assert_allclose(other[i], found[0][i], rtol=1e-5)


@pytest.mark.usefixtures("padding")
def test_a_head_trains_alike_alone_and_in_company(
    params: HeadParams, make_trainer: MakeTrainer, arrays: SearchArrays
) -> None:
    together = make_trainer(3, max_epochs=6)
    _add(together, arrays, *_varied(params))
    packed = _values(together)
    for i, own in enumerate(_varied(params)):
        alone = make_trainer(max_epochs=6)
        _add(alone, arrays, own, first_seed=i)
        np.testing.assert_allclose(_values(alone)[0], packed[i], rtol=1e-5)


@pytest.mark.usefixtures("padding")
def test_a_head_that_diverges_touches_no_neighbour(
    params: HeadParams, make_trainer: MakeTrainer, arrays: SearchArrays
) -> None:
    calm = replace(params, optimizer="sgd", learning_rate=0.1)
    alone = make_trainer(max_epochs=6)
    _add(alone, arrays, calm)
    trainer = make_trainer(3, max_epochs=6)
    _add(trainer, arrays, calm, replace(calm, learning_rate=1e30))
    epochs = epochs_of(trainer)
    assert epochs[1][-1].ending is Ending.DIVERGED
    assert not np.isfinite(epochs[1][-1].value)
    np.testing.assert_allclose([e.value for e in epochs[0]], _values(alone)[0], rtol=1e-5)


@pytest.mark.usefixtures("padding")
@pytest.mark.parametrize("batch_normalization", [False, True])
def test_the_winner_leaves_as_an_ordinary_keras_model_with_its_best_weights(
    params: HeadParams,
    batch_normalization: bool,
    make_trainer: MakeTrainer,
    arrays: SearchArrays,
    tmp_path,
) -> None:
    params = replace(params, batch_normalization=batch_normalization)
    trainer = make_trainer()
    _add(trainer, arrays, params)
    best = min(_values(trainer)[0])
    build_head(params, 8, 3, trainer.weights(0)).save(tmp_path / "head.keras")
    head = keras.models.load_model(tmp_path / "head.keras")
    logits = keras.ops.convert_to_numpy(head(arrays.vectors[arrays.folds[0][1]]))
    ours, theirs = (1 / (1 + np.exp(-x)) for x in (trainer.logits(0, arrays.folds[0][1]), logits))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    losses = np.logaddexp(0, logits) - arrays.labels[arrays.folds[0][1]] * logits
    assert losses.mean() == pytest.approx(best, rel=1e-5)


def test_a_head_that_is_restarted_trains_as_a_new_one_on_longer_rows_too(
    params: HeadParams, make_trainer: MakeTrainer, arrays: SearchArrays
) -> None:
    (whole_rows, valid_rows), few_rows = arrays.folds[0], np.arange(20)
    trainer, new = make_trainer(2, max_epochs=3), make_trainer(max_epochs=3)
    for key in range(2):
        trainer.add(key, params, 1, few_rows, valid_rows)
    company = _values(trainer)[1]
    trainer.restart(0, 7, np.tile(whole_rows, 10), valid_rows)
    new.add(0, params, 7, np.tile(whole_rows, 10), valid_rows)
    expected = _values(new)[0]
    np.testing.assert_allclose([trainer.advance()[0].value for _ in range(3)], expected, rtol=1e-5)
    assert trainer.n_heads == 2
    assert len(company) == 3


def test_a_slot_that_is_left_takes_the_next_head_while_the_others_go_on(
    params: HeadParams, make_trainer: MakeTrainer, arrays: SearchArrays
) -> None:
    trainer = make_trainer(2, max_epochs=6)
    _add(trainer, arrays, params, params)
    left = trainer.advance()[0].key
    trainer.remove(left)
    trainer.add("next", params, 7, *arrays.folds[0])
    assert trainer.n_heads == 2
    epochs = epochs_of(trainer)
    assert [e.step for e in epochs["next"]] == list(range(6))
    assert left not in epochs
    alone = make_trainer(max_epochs=6)
    _add(alone, arrays, params, first_seed=7)
    np.testing.assert_allclose([e.value for e in epochs["next"]], _values(alone)[0], rtol=1e-5)


def test_fifty_new_heads_need_no_new_trace(
    params: HeadParams, make_trainer: MakeTrainer, arrays: SearchArrays
) -> None:
    rng = np.random.default_rng(0)
    before = current_backend().n_traces()
    for i in range(50):
        units = rng.integers(4, 64, size=i % 3 + 1)
        layers = tuple(LayerParams(int(n), "relu", float(rng.random() / 2)) for n in units)
        trainer = make_trainer(max_epochs=1)
        own = replace(params, layers=layers, batch_size=int(rng.integers(8, 33)))
        _add(trainer, arrays, own, first_seed=i)
        trainer.advance()
    # One program to train and one to measure for each number of layers.
    assert current_backend().n_traces() - before <= 6


def test_a_pass_is_the_same_in_one_call_and_in_many(
    params: HeadParams,
    make_trainer: MakeTrainer,
    arrays: SearchArrays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, cut = make_trainer(max_epochs=3), make_trainer(max_epochs=3)
    _add(whole, arrays, params)
    _add(cut, arrays, params)
    expected = _values(whole)[0]
    monkeypatch.setattr(current_backend(), "MAX_ROWS", 40, raising=False)
    np.testing.assert_allclose(_values(cut)[0], expected, rtol=1e-6)


def test_every_pack_is_begun_before_the_first_is_waited_for(
    params: HeadParams,
    make_trainer: MakeTrainer,
    arrays: SearchArrays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    train, losses = Pack.train, Pack.losses

    def begin(pack: Pack, *arguments: Any) -> None:
        done.append("begin")
        train(pack, *arguments)

    def wait(pack: Pack, *arguments: Any) -> Callable[[], list[float]]:
        summed = losses(pack, *arguments)
        return lambda: done.append("wait") or summed()

    monkeypatch.setattr(Pack, "train", begin)
    monkeypatch.setattr(Pack, "losses", wait)
    trainer = make_trainer(2, max_epochs=2)
    wide = (LayerParams(100, "relu", 0.0), *params.layers[1:])
    _add(trainer, arrays, params, replace(params, layers=wide))
    assert {epoch.key for epoch in trainer.advance()} == {0, 1}
    assert done == ["begin", "begin", "wait", "wait"]


def test_a_matrix_in_shards_trains_as_well_as_a_whole_one(
    params: HeadParams, make_trainer: MakeTrainer, arrays: SearchArrays
) -> None:
    matrix = Matrix(arrays.vectors, arrays.labels, max_bytes=2000)
    assert matrix.shards(InputParams()).n_shards > 4
    trainer, whole = make_trainer(2, matrix), make_trainer(2)
    for each in (trainer, whole):
        _add(each, arrays, params, replace(params, batch_size=8))
    streamed, resident = _values(trainer), _values(whole)
    for i in range(2):
        assert min(streamed[i]) == pytest.approx(min(resident[i]), rel=0.1)
    logits = trainer.logits(0, arrays.folds[0][1])
    losses = np.logaddexp(0, logits) - arrays.labels[arrays.folds[0][1]] * logits
    assert losses.mean() == pytest.approx(min(streamed[0]), rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_the_memory_trains_as_well(
    params: HeadParams, dtype, make_trainer: MakeTrainer, arrays: SearchArrays
) -> None:
    values = []
    for matrix in (
        Matrix(arrays.vectors, arrays.labels),
        Matrix(arrays.vectors, arrays.labels, dtype),
    ):
        trainer = make_trainer(1, matrix, max_epochs=5)
        _add(trainer, arrays, params)
        values.append(_values(trainer)[0])
    np.testing.assert_allclose(values[1], values[0], rtol=0.02)
    assert values[0] != values[1]
