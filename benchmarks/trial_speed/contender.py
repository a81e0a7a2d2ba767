"""Run one contender in this process and print what it found: `FOLDER NAME N_TRIALS SEED`."""

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.trial_speed.problem import Found, Search

CONTENDERS = {
    "article": "article:search",
    "raytune": "raytune:search",
    "kerastuner": "kerastuner:search",
    "tagsweep": "tagsweep:search",
    "tagsweep_unpruned": "tagsweep:search_unpruned",
}


def run(folder: Path, name: str, n_trials: int, seed: int) -> Found:
    """Import a contender, which nothing else needs in its process, and let it search."""
    module, function = CONTENDERS[name].split(":")
    search: Search = getattr(importlib.import_module(f"benchmarks.trial_speed.{module}"), function)
    return search(folder, n_trials, seed)


if __name__ == "__main__":
    found = run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    print("\n" + json.dumps(asdict(found)))
