"""Search with Ray Tune: OptunaSearch and ASHA, one trial a core, each in a process of its own."""

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.trial_speed.problem import (
    MAX_EPOCHS,
    Arrays,
    Found,
    build,
    load_arrays,
    suggest,
    train,
)


def objective(params: dict[str, Any], arrays: Arrays) -> None:
    """Train one head and report each epoch's validation loss."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    class Report(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002
            tune.report({"val_loss": logs["val_loss"]})

    model = build(params, arrays["x"].shape[1], arrays["y"].shape[1])
    train(model, arrays, params["batch_size"], (Report(),))


def search(folder: Path, n_trials: int, seed: int) -> Found:
    """Run a Tuner to its end; its start of Ray is not counted, its start of each trial is."""
    arrays = load_arrays(folder)
    n_inputs = arrays["x"].shape[1]
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_parameters(objective, arrays=arrays),
        tune_config=tune.TuneConfig(
            num_samples=n_trials,
            metric="val_loss",
            mode="min",
            search_alg=OptunaSearch(
                partial(_suggest, n_inputs=n_inputs), metric="val_loss", mode="min", seed=seed
            ),
            scheduler=ASHAScheduler(max_t=MAX_EPOCHS),
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "raytune"), verbose=0),
    )
    started = time.time()
    results = tuner.fit()
    ended = time.time()
    if results.errors:
        raise results.errors[0]
    best = float(results.get_dataframe("val_loss", "min")["val_loss"].min())
    ray.shutdown()
    return Found(started, ended, len(results), best)


def _suggest(trial: Any, n_inputs: int) -> None:
    """Leave the suggestions in the trial, where OptunaSearch takes them from."""
    suggest(trial, n_inputs)
