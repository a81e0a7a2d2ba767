"""Measure packs: trials a minute over the article's search space, and steps a second by width."""

import argparse
import time
from typing import Any

import keras
import numpy as np

from benchmarks.pack_speed.heads import (
    MAX_BATCH,
    N_LABELS,
    N_ROWS,
    N_TRAIN,
    TRAINING,
    Floats,
    make_data,
    n_weights,
    random_head,
    square_head,
)
from shared.training.head import build_head, initial_weights
from shared.training.matrix import Matrix
from shared.training.params import HeadParams
from shared.training.trainer import Trainer

TRAIN_ROWS, VALID_ROWS = np.arange(N_TRAIN), np.arange(N_TRAIN, N_ROWS)
ADAM_BYTES = 40
"""Memory traffic a weight and step in float32: it is read twice; the gradient and both moments are
written and read; weight and moments are written."""
N_FIT_TRIALS = 3
N_FIT_EPOCHS = 3
MIN_WARM_TRIALS = 8
N_EPOCHS_OF_TRIAL = 18
"""How long the article's trials are, see the design notes; for pricing epochs as trials."""


def measure_packs(options: argparse.Namespace, device: dict[str, Any]) -> dict[str, Any]:
    """Measure every pack size over the search space and by width, beside `model.fit`."""
    x, y = make_data(N_ROWS, options.n_inputs)
    matrix = Matrix(x, y)
    fitted = _fit_epochs_per_min(x, y, options.n_inputs)
    packs = {str(n): _sweep(matrix, n, options.seconds, device) for n in options.pack}
    widths = {
        str(units): {str(n): _square(matrix, units, n, options.seconds / 4) for n in options.pack}
        for units in options.widths
    }
    best = max(pack["epochs_per_min"] for pack in packs.values())
    gains = {"gain_vs_fit": round(best / fitted, 1)}
    if "1" in packs:
        gains["gain_of_compiling"] = round(packs["1"]["epochs_per_min"] / fitted, 2)
        gains["gain_of_packing"] = round(best / packs["1"]["epochs_per_min"], 2)
    fit = {"epochs_per_min": round(fitted, 1), "trials_per_min": fitted / N_EPOCHS_OF_TRIAL}
    return {**device, "fit": fit, "packs": packs, "widths": widths, **gains}


def _sweep(
    matrix: Matrix, n_slots: int, seconds: float, device: dict[str, Any]
) -> dict[str, float]:
    """Keep a trainer full of random heads, each slot refilled at once, after it is warm."""
    rng = np.random.default_rng(1)
    trainer = Trainer(matrix, TRAINING, n_slots, MAX_BATCH)
    heads: dict[int, HeadParams] = {}
    n_given = n_epochs = n_trials = n_bytes = 0
    started = None
    while started is None or time.perf_counter() < started + seconds:
        while trainer.n_heads < n_slots:
            heads[n_given] = random_head(rng, matrix.n_inputs)
            trainer.add(n_given, heads[n_given], n_given, TRAIN_ROWS, VALID_ROWS)
            n_given += 1
        for epoch in trainer.advance():
            params = heads[epoch.key]
            n_steps = -(-N_TRAIN // params.batch_size)
            n_bytes += ADAM_BYTES * n_weights(params, matrix.n_inputs) * n_steps
            n_epochs += 1
            if epoch.ending is not None:
                trainer.remove(epoch.key)
                del heads[epoch.key]
                n_trials += 1
        # Warm: every shape that is common has been compiled, and trials are of all ages.
        if started is None and n_trials >= max(n_slots, MIN_WARM_TRIALS):
            started, n_epochs, n_trials, n_bytes = time.perf_counter(), 0, 0, 0
    elapsed = time.perf_counter() - started
    return {
        "trials_per_min": round(60 * n_trials / elapsed, 1),
        "epochs_per_min": round(60 * n_epochs / elapsed, 1),
        "roofline_share": round(n_bytes / elapsed / device["bytes_per_s"], 3),
    }


def _square(matrix: Matrix, units: int, n_slots: int, seconds: float) -> float:
    """Return the head-steps a second of equal heads."""
    trainer = Trainer(matrix, TRAINING, n_slots, MAX_BATCH)
    for key in range(n_slots):
        trainer.add(key, square_head(units), key, TRAIN_ROWS, VALID_ROWS)
    trainer.advance()
    trainer.advance()
    n_epochs, started = 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        ended = trainer.advance()
        n_epochs += len(ended)
        for epoch in ended:
            if epoch.ending is not None:
                trainer.remove(epoch.key)
                trainer.add(epoch.key, square_head(units), epoch.key, TRAIN_ROWS, VALID_ROWS)
    n_steps = n_epochs * -(-N_TRAIN // MAX_BATCH)
    return round(n_steps / (time.perf_counter() - started), 1)


def _fit_epochs_per_min(x: Floats, y: Floats, n_inputs: int) -> float:
    """Train random heads with Keras's own loop; the first epoch, which compiles, counts too."""
    rng = np.random.default_rng(1)
    started = time.perf_counter()
    for seed in range(N_FIT_TRIALS):
        params = random_head(rng, n_inputs)
        weights = initial_weights(params, n_inputs, N_LABELS, seed)
        model = build_head(params, n_inputs, N_LABELS, weights)
        model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
        model.fit(
            x[TRAIN_ROWS],
            y[TRAIN_ROWS],
            batch_size=params.batch_size,
            epochs=N_FIT_EPOCHS,
            validation_data=(x[VALID_ROWS], y[VALID_ROWS]),
            verbose=0,
        )
    return 60 * N_FIT_TRIALS * N_FIT_EPOCHS / (time.perf_counter() - started)
