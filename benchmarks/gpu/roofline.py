"""Hold packs to what the memory's bandwidth allows, and say what the device waits for."""

import json
import sys
from typing import Any

from benchmarks.gpu.trace import count_compilations, traced
from benchmarks.pack_speed.device import describe_device
from benchmarks.pack_speed.heads import N_TRAIN, make_problem, square_head
from benchmarks.pack_speed.packs import endless, measured, sweeping

SECONDS, TRACED_S = 3.0, 0.7


def main() -> None:
    """Print the figures of a pack of equal heads, then of as many slots over the search space."""
    small = "--small" in sys.argv
    n_slots, units, seconds = (4, 32, 0.1) if small else (128, 256, SECONDS)
    device = describe_device()
    print(json.dumps(device), flush=True)
    problem = make_problem(200 if small else N_TRAIN, 384)
    compilations = count_compilations()

    def examine(rounds: Any) -> dict[str, Any]:
        pace = measured(rounds, seconds, problem).figures(device["bytes_per_s"])
        n_known = len(compilations)
        trace = traced(lambda: measured(rounds, min(seconds, TRACED_S), problem))
        compiled = {"n_compilations": n_known, "compile_s": round(sum(compilations), 1)}
        compilations.clear()
        return {**pace, **compiled, **trace}

    rounds = endless(problem, n_slots, lambda: square_head(units))
    for _ in range(2 if small else 4):
        next(rounds)
    print(json.dumps({"square": examine(rounds)}), flush=True)
    rounds, warm = sweeping(problem, n_slots, 1.5 * seconds)
    print(json.dumps({"sweep": examine(rounds) | warm}), flush=True)


if __name__ == "__main__":
    main()
