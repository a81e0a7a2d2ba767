"""Search as the article's program does: one trial after the other, in one process, unpruned."""

import time
from pathlib import Path

import keras
import optuna

from benchmarks.trial_speed.problem import Found, build, load_arrays, suggest, train


def search(folder: Path, n_trials: int, seed: int) -> Found:
    """Run Optuna's `study.optimize`, its study in memory, over `model.fit`."""
    arrays = load_arrays(folder)
    n_inputs, n_labels = arrays["x"].shape[1], arrays["y"].shape[1]

    def objective(trial: optuna.Trial) -> float:
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed * 1000 + trial.number)
        params = suggest(trial, n_inputs)
        return min(train(build(params, n_inputs, n_labels), arrays, params["batch_size"]))

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    started = time.time()
    study.optimize(objective, n_trials=n_trials)
    return Found(started, time.time(), n_trials, study.best_value)
