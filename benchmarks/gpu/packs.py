"""Measure packs of all sizes over the article's space, narrow and wide, on few rows and many."""

import json
import sys

from benchmarks.gpu.trace import count_compilations
from benchmarks.pack_speed.device import describe_device
from benchmarks.pack_speed.heads import N_TRAIN, make_problem
from benchmarks.pack_speed.packs import fit_pace, gains, sweep

PACKS = (1, 8, 32, 128, 512)
SIZES = ((384, N_TRAIN), (768, N_TRAIN), (384, 100_000), (768, 100_000))
SECONDS = 1.0


def main() -> None:
    """Print each cell as soon as it is known."""
    small = "--small" in sys.argv
    device, compilations = describe_device(), count_compilations()
    for n_inputs, n_rows in ((64, 200),) if small else SIZES:
        problem = make_problem(n_rows, n_inputs)
        is_long = n_rows > N_TRAIN
        fit = fit_pace(problem, 1 if small or is_long else 2, 2 if is_long else 4)
        name, packs = f"{n_inputs} wide, {n_rows} rows", {}
        print(json.dumps({name: {"fit": fit}}), flush=True)
        for n_slots in (1, 4) if small else PACKS:
            packs[str(n_slots)] = sweep(problem, n_slots, 0.1 if small else SECONDS, device) | {
                "n_compilations": len(compilations),
                "compile_s": round(sum(compilations), 1),
            }
            compilations.clear()
            cell = {"fit": fit, "packs": packs, **gains(packs, fit)}
            print(json.dumps({name: cell}), flush=True)


if __name__ == "__main__":
    main()
