"""Compare packs with Keras on this device, and its short products with exact ones.

The tests of the numeric core run with products in full float32; what TensorFloat-32, with which a
GPU trains by default, changes of the losses of random heads is told.
"""

import json
import os
import re
import subprocess
import sys

import jax
import numpy as np
import numpy.typing as npt

from benchmarks.pack_speed.heads import (
    MAX_BATCH,
    MAX_LAYERS,
    N_TRAIN,
    TRAINING,
    make_problem,
    random_head,
)
from shared.training.matrix import Matrix
from shared.training.trainer import Trainer

TESTS = [
    "test_trainer",
    "test_trainer_memory",
    "test_snapshot",
    "program/test_network",
    "program/test_optimizers",
    "program/test_dropout",
]
N_HEADS, N_EPOCHS = 16, 8


def main() -> None:
    """Print by how much losses differ, then how the tests ended."""
    small = "--small" in sys.argv
    sizes = (2, 2, 200) if small else (N_HEADS, N_EPOCHS, N_TRAIN)
    print(json.dumps({"tf32": _differences(*sizes)}), flush=True)
    print(json.dumps({"tests": _run_tests(small=small)}), flush=True)


def _run_tests(*, small: bool) -> dict[str, int | str]:
    """Run the tests with no plugin but those that they need, whatever else is installed."""
    environment = os.environ | {
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    plugins = ["pytest_timeout", "_hypothesis_pytestplugin", "xdist.plugin"]
    # Most of the time XLA compiles, on the CPU.
    n_processes = 0 if small else min(12, os.cpu_count() or 1)
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", f"--numprocesses={n_processes}"]
    command += [part for plugin in (*plugins, "no:cacheprovider") for part in ("-p", plugin)]
    command += [f"tests/shared_tests/training/{name}.py" for name in TESTS]
    if small:
        command += ["-k", "each_option and padded and sgd"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error)", lines[-1])}
    why = {"last_lines": " / ".join(lines[-5:])} if done.returncode else {}
    return {"exit_code": done.returncode, **counts, **why}


def _differences(n_heads: int, n_epochs: int, n_train: int) -> dict[str, float]:
    problem = make_problem(n_train, 384)
    matrix = Matrix(problem.vectors, problem.labels)

    def values(precision: str) -> npt.NDArray[np.float64]:
        rng = np.random.default_rng(3)
        trainer = Trainer(matrix, TRAINING, n_heads, MAX_BATCH, MAX_LAYERS)
        for key in range(n_heads):
            head = random_head(rng, problem.n_inputs)
            trainer.add(key, head, key, problem.train_rows, problem.valid_rows)
        found: dict[int, list[float]] = {key: [] for key in range(n_heads)}
        with jax.default_matmul_precision(precision):
            while min(map(len, found.values())) < n_epochs:
                for epoch in trainer.advance():
                    found[epoch.key].append(epoch.value)
        return np.array([values[:n_epochs] for values in found.values()])

    exact, short = values("highest"), values("tensorfloat32")
    shares = np.abs(short - exact) / exact
    best = np.abs(short.min(axis=1) - exact.min(axis=1)) / exact.min(axis=1)
    return {
        "first_epoch_median": float(np.median(shares[:, 0])),
        "largest": float(shares.max()),
        "best_value_largest": float(best.max()),
        "same_best_head": bool(short.min(axis=1).argmin() == exact.min(axis=1).argmin()),
    }


if __name__ == "__main__":
    main()
