"""Let the contenders search in turn, and compare: `--data CSV --n-trials N`."""

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from benchmarks.results import publish
from benchmarks.trial_speed.contender import CONTENDERS
from benchmarks.trial_speed.tagsweep import RUN
from benchmarks.usage import run_measured
from orchestrator.data.prepare import prepare
from orchestrator.pipeline import run_prepare
from orchestrator.runs.run import define_run

console = Console(stderr=True)


def main(
    data: Annotated[Path, typer.Option(help="A labelled CSV.")],
    n_trials: Annotated[int, typer.Option(help="Trials of each contender and round.")] = 40,
    rounds: Annotated[int, typer.Option(help="How often each contender searches.")] = 1,
    only: Annotated[str, typer.Option(help="Contenders, with commas between.")] = "",
) -> None:
    """Print and keep one JSON line; see benchmarks/README.md for what its keys mean."""
    names = only.split(",") if only else list(CONTENDERS)
    with tempfile.TemporaryDirectory(prefix="trial-speed-") as temporary:
        folder = Path(temporary)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for seed in range(rounds):
            _prepare(data, folder, seed)
            for name in names:
                found[name].append(_measure(folder, name, n_trials, seed))
                console.print(name, found[name][-1])
    result: dict[str, Any] = {name: _medians(rows) for name, rows in found.items()}
    publish("trial_speed", result | _compare(result, n_trials) | _setting(data, n_trials, rounds))


def _prepare(data: Path, folder: Path, seed: int) -> None:
    """Embed the texts and split the rows, as tagsweep does, for all contenders."""
    options: dict[str, dict[str, Any]] = {"data": {"csv": data.absolute()}, "study": {"seed": seed}}
    run = define_run(None, folder / RUN, None, options)
    run_prepare(run, console)
    prepared = prepare(run, Console(quiet=True))
    x, y, split = prepared.vectors, prepared.dataset.labels, prepared.split
    rows: dict[str, Any] = {"x": x[split.train], "y": y[split.train]}
    rows |= {"x_valid": x[split.valid], "y_valid": y[split.valid]}
    np.savez(folder / "arrays.npz", **rows)


def _measure(folder: Path, name: str, n_trials: int, seed: int) -> dict[str, float]:
    module = [sys.executable, "-m", "benchmarks.trial_speed.contender"]
    started = time.time()
    usage = run_measured([*module, folder, name, n_trials, seed])
    found = json.loads(usage.output.splitlines()[-1])
    if found["n_trials"] != n_trials:
        raise ValueError(f"{name} must have run {n_trials} trials, but got {found['n_trials']}.")
    running_s = found["last_trial_ended"] - found["first_trial_started"]
    figures = {
        "s_per_trial": running_s / n_trials,
        "start_s": found["first_trial_started"] - started,
        "best": found["best"],
        "cpu_s": usage.cpu_s,
        "rss_mb": usage.peak_mib,
    }
    if name.startswith("tagsweep"):
        study = ("un" if "unpruned" in name else "") + f"pruned-{seed}"
        replay = [sys.executable, "-m", "benchmarks.trial_speed.replay", folder, study]
        figures["training_cpu_s"] = json.loads(run_measured(replay).output.splitlines()[-1])
    return figures


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(median(row[key] for row in rows), 4) for key in rows[0]}


def _compare(result: dict[str, Any], n_trials: int) -> dict[str, Any]:
    """Divide paces by tagsweep's: from the first trial to the last, and with all starts counted."""
    ours = result.get("tagsweep")
    if ours is None:
        return {}
    compared = {"training_share": round(ours["training_cpu_s"] / ours["cpu_s"], 3)}
    for name in ("article", "raytune", "kerastuner"):
        if name in result:
            theirs = result[name]
            started = [each["s_per_trial"] + each["start_s"] / n_trials for each in (theirs, ours)]
            compared |= {
                f"ratio_vs_{name}": round(theirs["s_per_trial"] / ours["s_per_trial"], 2),
                f"ratio_vs_{name}_with_start": round(started[0] / started[1], 2),
                f"best_vs_{name}": round(ours["best"] / theirs["best"], 4),
            }
    return compared


def _setting(data: Path, n_trials: int, rounds: int) -> dict[str, Any]:
    return {"data": data.name, "n_trials": n_trials, "rounds": rounds}


if __name__ == "__main__":
    typer.run(main)
