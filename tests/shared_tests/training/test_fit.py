from dataclasses import replace

import keras
import numpy as np
import pytest

from shared.config import TrainingConfig
from shared.training.fit import Ending, FitData, fit, predict_logits
from shared.training.head import build_head, build_loss, build_optimizer
from shared.training.params import HeadParams


def go_on(_step: int, _value: float) -> bool:
    return True


def test_training_learns_and_stops_early(params: HeadParams, data: FitData) -> None:
    result = fit(params, data, TrainingConfig(), 1, go_on)
    assert result.ending is Ending.EARLY_STOPPED
    assert result.best_value < 0.45 < result.values[0]


def test_every_epoch_is_reported_in_order(params: HeadParams, data: FitData) -> None:
    seen = []
    result = fit(
        params, data, TrainingConfig(max_epochs=4), 1, lambda *args: seen.append(args) or True
    )
    assert result.ending is Ending.MAX_EPOCHS
    assert seen == list(enumerate(result.values))
    assert len(seen) == 4


def test_the_head_has_its_best_weights(params: HeadParams, data: FitData) -> None:
    result = fit(params, data, TrainingConfig(), 1, go_on)
    logits = predict_logits(result.head, data.vectors, data.valid_rows)
    labels = data.labels.numpy()[data.valid_rows]
    losses = np.logaddexp(0, logits) - labels * logits
    assert losses.mean() == pytest.approx(result.best_value, rel=1e-5)


def test_training_stops_when_it_is_told_to(params: HeadParams, data: FitData) -> None:
    result = fit(params, data, TrainingConfig(), 1, lambda step, _value: step < 2)
    assert result.ending is Ending.STOPPED
    assert len(result.values) == 3


def test_a_loss_that_is_not_finite_ends_the_training_unreported(
    params: HeadParams, data: FitData
) -> None:
    seen = []
    wild = replace(params, learning_rate=1e30, optimizer="sgd")
    result = fit(wild, data, TrainingConfig(), 1, lambda *args: seen.append(args) or True)
    assert result.ending is Ending.DIVERGED
    assert len(result.values) == len(seen)
    assert all(np.isfinite(value) for value in result.values)


def test_the_same_seed_gives_the_same_curve(params: HeadParams, data: FitData) -> None:
    first, same, other = (
        fit(params, data, TrainingConfig(max_epochs=3), seed, go_on).values for seed in (1, 1, 2)
    )
    assert first == same != other


@pytest.mark.parametrize(("batch_normalization", "tolerance"), [(False, 1e-4), (True, 1e-3)])
def test_the_curve_is_that_of_kerass_own_fit(
    params: HeadParams,
    data: FitData,
    batch_normalization: bool,
    tolerance: float,
) -> None:
    layers = tuple(replace(layer, dropout=0.0) for layer in params.layers)
    calm = replace(params, layers=layers, batch_normalization=batch_normalization)
    config = TrainingConfig(max_epochs=12)
    ours = fit(calm, data, config, 1, go_on)

    model = build_head(calm, 8, 3, seed=1)
    model.compile(build_optimizer(calm), build_loss(calm), jit_compile=False)
    vectors, labels = data.vectors.numpy(), data.labels.numpy()
    rng = np.random.default_rng(1)
    valid = (vectors[data.valid_rows], labels[data.valid_rows])
    reduce = keras.callbacks.ReduceLROnPlateau(factor=0.1, patience=1, min_lr=1e-5)
    stop = keras.callbacks.EarlyStopping(patience=5)
    theirs: list[float] = []
    for epoch in range(config.max_epochs):
        order = rng.permutation(data.train_rows)
        model.fit(vectors[order], labels[order], batch_size=16, shuffle=False, verbose=0)
        theirs.append(model.evaluate(*valid, verbose=0))
        for callback in (reduce, stop):
            callback.set_model(model)
            if epoch == 0:
                callback.on_train_begin()
            callback.on_epoch_end(epoch, {"val_loss": theirs[-1]})
    np.testing.assert_allclose(ours.values, theirs[: len(ours.values)], rtol=tolerance)
