"""Measure how time and memory grow with the rows, each number of rows in a process of its own."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pack_speed.heads import MAX_BATCH, TRAINING, make_data, square_head

UNITS = 128
CHUNK = 100_000
MIB = 1 << 20


def measure_rows(backend: str, n_rows: int, n_inputs: int) -> dict[str, Any]:
    """Return seconds an epoch and the peak memory in MiB, whole and in shards on the device."""
    found: dict[str, Any] = {"rows": n_rows}
    with tempfile.TemporaryDirectory(prefix="pack-rows-") as temporary:
        folder = Path(temporary)
        _write_data(folder, n_rows, n_inputs)
        for kind in ("resident", "streamed"):
            module = [sys.executable, "-m", "benchmarks.pack_speed.rows"]
            done = subprocess.run(
                [*module, folder, kind],
                env=os.environ | {"KERAS_BACKEND": backend},
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            found[kind] = json.loads(done.stdout.splitlines()[-1])
    return found


def _write_data(folder: Path, n_rows: int, n_inputs: int) -> None:
    vectors = np.lib.format.open_memmap(
        folder / "x.npy", mode="w+", dtype=np.float32, shape=(n_rows, n_inputs)
    )
    labels = []
    for start in range(0, n_rows, CHUNK):
        vectors[start : start + CHUNK], y = make_data(min(CHUNK, n_rows - start), n_inputs)
        labels.append(y)
    vectors.flush()
    np.save(folder / "y.npy", np.concatenate(labels))


def _train(folder: Path, kind: str) -> dict[str, Any]:
    """Train one head for two epochs and time the second."""
    from benchmarks.pack_speed.device import device_peak_bytes
    from shared.training.matrix import Matrix
    from shared.training.params import InputParams
    from shared.training.trainer import Trainer

    x, y = np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "y.npy")
    max_bytes = x.nbytes // 4 if kind == "streamed" else None
    matrix = Matrix(x, y, max_bytes=max_bytes)
    trainer = Trainer(matrix, TRAINING, 1, MAX_BATCH, 1)
    n_valid = len(x) // 5
    trainer.add(0, square_head(UNITS, 1), 0, np.arange(n_valid, len(x)), np.arange(n_valid))
    trainer.advance()
    started = time.perf_counter()
    trainer.advance()
    elapsed = time.perf_counter() - started
    host_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = device_peak_bytes()
    return {
        "shards": matrix.shards(InputParams()).n_shards,
        "s_per_epoch": round(elapsed, 3),
        "host_mib": round(host_mib),
        "device_mib": None if peak is None else round(peak / MIB),
    }


if __name__ == "__main__":
    print(json.dumps(_train(Path(sys.argv[1]), sys.argv[2])))
