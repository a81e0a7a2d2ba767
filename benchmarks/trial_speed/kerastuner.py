"""Search with KerasTuner's Bayesian optimisation: one trial after the other, in one process."""

import time
from pathlib import Path
from typing import Any

import keras_tuner

from benchmarks.trial_speed.problem import (
    ACTIVATIONS,
    BATCH_SIZES,
    MAX_DROPOUT,
    MIN_UNITS,
    Found,
    build,
    load_arrays,
    train,
)


def search(folder: Path, n_trials: int, seed: int) -> Found:
    """Run a tuner of KerasTuner over `model.fit`."""
    arrays = load_arrays(folder)
    n_inputs, n_labels = arrays["x"].shape[1], arrays["y"].shape[1]

    class Tuner(keras_tuner.BayesianOptimization):
        def run_trial(self, trial: Any, *_: Any, **__: Any) -> float:
            params = _suggest(trial.hyperparameters, n_inputs)
            return min(train(build(params, n_inputs, n_labels), arrays, params["batch_size"]))

    tuner = Tuner(
        max_trials=n_trials,
        seed=seed,
        directory=folder / "kerastuner",
        project_name=f"seed-{seed}",
        overwrite=True,
    )
    started = time.time()
    tuner.search()
    ended = time.time()
    trials = tuner.oracle.trials.values()
    return Found(started, ended, len(trials), min(trial.score for trial in trials))


def _suggest(hp: Any, n_inputs: int) -> dict[str, Any]:
    params: dict[str, Any] = {"n_layers": hp.Int("n_layers", 1, 3)}
    for i in range(params["n_layers"]):
        params |= {
            f"n_units_l{i}": hp.Int(f"n_units_l{i}", MIN_UNITS, n_inputs, sampling="log"),
            f"activation{i}": hp.Choice(f"activation{i}", ACTIVATIONS),
            f"dropout{i}": hp.Float(f"dropout{i}", 0, MAX_DROPOUT),
        }
    return params | {"batch_size": hp.Int("batch_size", *BATCH_SIZES)}
