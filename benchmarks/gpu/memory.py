"""Choose the slots of a pack on an almost full device, and ask for more than it holds."""

import json
import logging

import jax
import jax.numpy as jnp

from benchmarks.pack_speed.heads import (
    MAX_BATCH,
    MAX_LAYERS,
    N_LABELS,
    TRAINING,
    make_problem,
    square_head,
)
from shared.training.backends import current_backend
from shared.training.capacity import auto_slots
from shared.training.matrix import Matrix
from shared.training.trainer import Trainer

LEFT_BYTES = 1 << 31
"""What the ballast leaves of the device's memory."""
WIDE = 768


def main() -> None:
    """Print what `auto` chose and whether it fitted, then where halving ended."""
    logging.disable()
    free = current_backend().free_bytes()
    if free is None:
        print(json.dumps({"skipped": "a CPU has no memory of its own"}))
        return
    ballast = jnp.zeros(free - LEFT_BYTES, dtype="uint8")
    problem = make_problem(1000, WIDE)
    matrix = Matrix(problem.vectors, problem.labels)
    shape = (WIDE, N_LABELS, MAX_LAYERS, WIDE, MAX_BATCH, len(problem.train_rows))
    n_auto = auto_slots(*shape)
    for name, n_slots in (("auto", n_auto), ("too_many", 4 * n_auto)):
        trainer = Trainer(matrix, TRAINING, n_slots, MAX_BATCH, MAX_LAYERS)
        for key in range(n_slots):
            rows = (problem.train_rows, problem.valid_rows)
            trainer.add(key, square_head(WIDE), key, *rows)
        keys = {epoch.key for _ in range(3) for epoch in trainer.advance()}
        stats = jax.local_devices()[0].memory_stats()
        peak = stats["peak_bytes_in_use"] / stats["bytes_limit"]
        found = {"n_slots": n_slots, "n_trained": trainer.n_slots, "n_keys": len(keys)}
        print(json.dumps({name: found | {"peak_share": round(peak, 3)}}), flush=True)
        trainer.clear()
    assert ballast.size


if __name__ == "__main__":
    main()
