import math

import keras
from hypothesis import given
from hypothesis import strategies as st

from shared.config.sections import TrainingConfig
from shared.training.schedule import Ending, Progress, advance

LOSSES = st.lists(st.sampled_from([0.5, 0.49995, 0.49, 0.4, 0.3, 0.30005, 0.6]), min_size=1)


@given(LOSSES, st.integers(1, 3), st.integers(1, 4), st.sampled_from([1e-2, 1e-3, 1e-5]))
def test_rate_and_stop_are_those_of_kerass_callbacks(losses, patience, stopping, rate) -> None:
    config = TrainingConfig(reduce_lr_patience=patience, early_stopping_patience=stopping)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate))
    callbacks = keras.callbacks.CallbackList(
        [
            keras.callbacks.ReduceLROnPlateau(factor=0.1, patience=patience, min_lr=1e-5),
            keras.callbacks.EarlyStopping(patience=stopping),
        ],
        model=model,
    )
    callbacks.on_train_begin()
    progress = Progress(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
    for epoch, loss in enumerate(losses):
        callbacks.on_epoch_end(epoch, {"val_loss": loss})
        progress = advance(progress, loss, config)
        learning_rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        assert progress.learning_rate == learning_rate
        assert (progress.ending is Ending.EARLY_STOPPED) == bool(model.stop_training)
        if progress.ending:
            break


def test_the_best_epoch_is_marked() -> None:
    progress, marks = Progress(0.1), []
    for loss in (0.5, 0.6, 0.4, 0.4):
        progress = advance(progress, loss, TrainingConfig())
        marks.append(progress.improved)
    assert marks == [True, False, True, False]
    assert progress.best_value == 0.4


def test_the_last_epoch_ends_the_training() -> None:
    progress = advance(Progress(0.1), 0.5, TrainingConfig(max_epochs=1))
    assert progress.ending is Ending.MAX_EPOCHS


def test_a_loss_that_is_not_finite_ends_the_training_and_is_never_the_best() -> None:
    before = advance(Progress(0.1), 0.5, TrainingConfig())
    after = advance(before, math.nan, TrainingConfig())
    assert after.ending is Ending.DIVERGED
    assert not after.improved
    assert after.best_value == 0.5
