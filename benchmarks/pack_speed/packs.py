"""Measure packs: trials a minute over the article's search space, and steps a second by width."""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from benchmarks.pack_speed.heads import (
    MAX_BATCH,
    MAX_LAYERS,
    N_LABELS,
    N_TRAIN,
    TRAINING,
    Problem,
    make_problem,
    n_weights,
    random_head,
    square_head,
)
from shared.training.head import build_head, initial_weights
from shared.training.matrix import Matrix
from shared.training.params import HeadParams
from shared.training.trainer import Epoch, Trainer

ADAM_BYTES = 40
"""Memory traffic a weight and step in float32: it is read forward, backward and to be updated;
the gradient and both moments are written and read; the new weight is written."""
N_FIT_TRIALS = 3
N_FIT_EPOCHS = 4
MIN_WARM_TRIALS = 8
N_EPOCHS_OF_TRIAL = 18
"""How long the article's trials are, see the design notes; for pricing epochs as trials."""

Round = list[tuple[Epoch, HeadParams]]


@dataclass
class Pace:
    """Count what was trained in `seconds`; `n_bytes` is what its steps have to move at least."""

    seconds: float = 0.0
    n_trials: int = 0
    n_epochs: int = 0
    n_steps: int = 0
    n_bytes: int = 0

    def figures(self, bytes_per_s: float) -> dict[str, float]:
        """Return trials and epochs a minute, steps of heads a second, and the roofline's share."""
        return {
            "trials_per_min": round(60 * self.n_trials / self.seconds, 1),
            "epochs_per_min": round(60 * self.n_epochs / self.seconds, 1),
            "head_steps_per_s": round(self.n_steps / self.seconds, 1),
            "roofline_share": round(self.n_bytes / self.seconds / bytes_per_s, 3),
        }


def measure_packs(options: argparse.Namespace, device: dict[str, Any]) -> dict[str, Any]:
    """Measure every pack size over the search space and by width, beside `model.fit`."""
    problem = make_problem(N_TRAIN, options.n_inputs)
    fit = fit_pace(problem)
    packs = {str(n): sweep(problem, n, options.seconds, device) for n in options.pack}
    widths = {
        str(units): {
            str(n): square(problem, units, n, options.seconds / 4, device) for n in options.pack
        }
        for units in options.widths
    }
    return {**device, "fit": fit, "packs": packs, "widths": widths, **gains(packs, fit)}


def gains(packs: dict[str, dict[str, float]], fit: dict[str, float]) -> dict[str, float]:
    """Return how many times as many epochs packs train: as `model.fit`, and as one head alone."""
    fitted = fit["epochs_per_min"]
    best = max(pack["epochs_per_min"] for pack in packs.values())
    found = {"gain_vs_fit": round(best / fitted, 1)}
    if "1" in packs:
        found["gain_of_compiling"] = round(packs["1"]["epochs_per_min"] / fitted, 2)
        found["gain_of_packing"] = round(best / packs["1"]["epochs_per_min"], 2)
    return found


def sweep(
    problem: Problem, n_slots: int, seconds: float, device: dict[str, Any]
) -> dict[str, float]:
    """Keep a trainer full of random heads, each slot refilled at once, and measure it warm."""
    rounds, warm = sweeping(problem, n_slots, seconds)
    return measured(rounds, seconds, problem).figures(device["bytes_per_s"]) | warm


def sweeping(
    problem: Problem, n_slots: int, seconds: float
) -> tuple[Iterator[Round], dict[str, float]]:
    """Have a trainer full of random heads warm: programs are compiled, trials of all ages.

    That takes at most four times as long as it is measured afterwards. Returns its rounds, and
    what warming it took.
    """
    rng = np.random.default_rng(1)
    rounds = endless(problem, n_slots, lambda: random_head(rng, problem.n_inputs))
    started, n_trials = time.perf_counter(), 0
    while n_trials < max(n_slots, MIN_WARM_TRIALS):
        n_trials += sum(epoch.ending is not None for epoch, _ in next(rounds))
        if time.perf_counter() > started + 4 * seconds:
            break
    return rounds, {"warm_s": round(time.perf_counter() - started, 1)}


def square(
    problem: Problem, units: int, n_slots: int, seconds: float, device: dict[str, Any]
) -> dict[str, float]:
    """Measure a pack of equal heads of three layers."""
    rounds = endless(problem, n_slots, lambda: square_head(units))
    next(rounds), next(rounds)
    return measured(rounds, seconds, problem).figures(device["bytes_per_s"])


def endless(problem: Problem, n_slots: int, draw: Callable[[], HeadParams]) -> Iterator[Round]:
    """Yield the epochs of each round of a trainer whose slots are always full."""
    matrix = Matrix(problem.vectors, problem.labels)
    trainer = Trainer(matrix, TRAINING, n_slots, MAX_BATCH, MAX_LAYERS)
    heads: dict[int, HeadParams] = {}
    n_given = 0
    while True:
        while trainer.n_heads < n_slots:
            heads[n_given] = draw()
            trainer.add(n_given, heads[n_given], n_given, problem.train_rows, problem.valid_rows)
            n_given += 1
        ended = [(epoch, heads[epoch.key]) for epoch in trainer.advance()]
        yield ended
        for epoch, _ in ended:
            if epoch.ending is not None:
                trainer.remove(epoch.key)
                del heads[epoch.key]


def measured(rounds: Iterator[Round], seconds: float, problem: Problem) -> Pace:
    """Count what is trained in so many seconds."""
    pace, started = Pace(), time.perf_counter()
    while pace.seconds < seconds:
        for epoch, params in next(rounds):
            n_steps = -(-len(problem.train_rows) // params.batch_size)
            pace.n_steps += n_steps
            pace.n_bytes += ADAM_BYTES * n_weights(params, problem.n_inputs) * n_steps
            pace.n_epochs += 1
            pace.n_trials += epoch.ending is not None
        pace.seconds = time.perf_counter() - started
    return pace


def fit_pace(
    problem: Problem, n_trials: int = N_FIT_TRIALS, n_epochs: int = N_FIT_EPOCHS
) -> dict[str, float]:
    """Train random heads with Keras's own loop.

    The first epoch, which compiles, is priced as one of a trial's, and the others as those after.
    """
    rng = np.random.default_rng(1)
    first_s, later_s = 0.0, 0.0
    for seed in range(n_trials):
        params = random_head(rng, problem.n_inputs)
        weights = initial_weights(params, problem.n_inputs, N_LABELS, seed)
        model = build_head(params, problem.n_inputs, N_LABELS, weights)
        model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
        first_s += _fit(model, problem, params.batch_size, 1)
        later_s += _fit(model, problem, params.batch_size, n_epochs - 1)
    later_s /= n_epochs - 1
    trial_s = (first_s + (N_EPOCHS_OF_TRIAL - 1) * later_s) / n_trials
    return {
        "epochs_per_min": round(60 * N_EPOCHS_OF_TRIAL / trial_s, 1),
        "trials_per_min": round(60 / trial_s, 2),
        "first_epoch_s": round(first_s / n_trials, 2),
        "epoch_s": round(later_s / n_trials, 3),
    }


def _fit(model: keras.Model, problem: Problem, batch_size: int, n_epochs: int) -> float:
    started = time.perf_counter()
    x, y, valid_rows = problem.vectors, problem.labels, problem.valid_rows
    model.fit(
        x[problem.train_rows],
        y[problem.train_rows],
        batch_size=batch_size,
        epochs=n_epochs,
        validation_data=(x[valid_rows], y[valid_rows]),
        verbose=0,
    )
    return time.perf_counter() - started
