"""Kill workers, driver and database of a sweep at seeded random moments, and count what is lost.

`--n-trials 100 --n-workers 4 --kill-every 5 --seconds 240`; exits with 1 when anything is amiss.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import optuna
import psutil
import typer
from optuna.trial import FrozenTrial, TrialState

from benchmarks.outages import outage
from benchmarks.results import publish
from orchestrator.database import embedded_postgres
from shared.search.attributes import CHECKPOINTS, FAILURE, RESUMED_AT, RETRY_OF
from shared.search.storage import open_storage

TAGSWEEP = Path(sys.executable).with_name("tagsweep")
DATA = Path(os.environ.get("TAGSWEEP_TEST_DATA", "../shared/data")) / "emotions.csv"
NAME = "chaos"
HARMS = ("kill worker", "stop worker", "kill driver", "restart database")
WEIGHTS = (5, 3, 2, 2)
FAST = """
workers: {heartbeat_interval_s: 1, heartbeat_grace_s: 5, checkpoint_interval_s: 0, max_retries: 99}
"""
PATIENCE_S = 900


def main(
    n_trials: Annotated[int, typer.Option()] = 100,
    n_workers: Annotated[int, typer.Option()] = 4,
    kill_every: Annotated[float, typer.Option(help="Seconds between two harms, on average.")] = 5,
    seconds: Annotated[float, typer.Option(help="How long harm is done.")] = 240,
    seed: Annotated[int, typer.Option()] = 0,
    keep: Annotated[bool, typer.Option(help="Keep the line in results/.")] = False,
) -> None:
    """Run a search through all harm to its end, and print what it came to."""
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as temporary,
        embedded_postgres(Path(temporary) / "postgres") as url,
    ):
        run = _prepare(Path(temporary), n_trials, n_workers)
        harms = _search(run, url, kill_every, seconds, random.Random(seed))
        found = _examine(url, n_trials) | {
            "kills": harms["kill worker"] + harms["stop worker"],
            "driver_restarts": harms["kill driver"],
            "db_restarts": harms["restart database"],
        }
    print(json.dumps(found)) if not keep else publish("chaos", found)
    amiss = found["lost"] or found["doubled"] or found["unlinked"] or found["running"]
    if amiss or found["waiting"] or found["finished"] != n_trials or not found["best_consistent"]:
        sys.exit(1)


def _prepare(folder: Path, n_trials: int, n_workers: int) -> Path:
    run, config = folder / "run", folder / "chaos.yaml"
    limits = f"study: {{name: {NAME}, n_trials: {n_trials}}}"
    workers = FAST.replace("{", f"{{max: {n_workers}, ", 1)
    config.write_text(f"data: {{csv: {DATA.resolve()}}}\n{limits}\n{workers}")
    subprocess.run([TAGSWEEP, "prepare", config, "--run-dir", run, "--quiet"], check=True)
    return run


def _search(
    run: Path, url: str, kill_every: float, seconds: float, rng: random.Random
) -> Counter[str]:
    """Search, and do harm until `seconds` are over; start the driver again whenever it ended."""
    harms: Counter[str] = Counter()
    started = time.monotonic()
    driver = _start(run, url)
    try:
        while time.monotonic() < started + PATIENCE_S:
            try:
                if driver.wait(timeout=rng.uniform(0.5, 1.5) * kill_every) == 0:
                    return harms
                driver = _start(run, url)
            except subprocess.TimeoutExpired:
                if time.monotonic() < started + seconds:
                    harm = rng.choices(HARMS, WEIGHTS)[0]
                    harms[harm] += _do(harm, driver, url, rng)
    finally:
        driver.kill()
    raise TimeoutError(f"The search has not ended in {PATIENCE_S} s, after {harms}.")


def _start(run: Path, url: str) -> subprocess.Popen[bytes]:
    command = [str(TAGSWEEP), "search", str(run), "--quiet"]
    return subprocess.Popen(command, env=os.environ | {"TAGSWEEP_STORAGE": url})


def _do(harm: str, driver: subprocess.Popen[bytes], url: str, rng: random.Random) -> bool:
    """Do one harm; return whether there was anything to harm."""
    print(harm, file=sys.stderr)
    if harm == "restart database":
        with outage(url):
            time.sleep(rng.uniform(0, 3))
        return True
    if harm == "kill driver":
        driver.kill()
        return True
    workers = [c for c in psutil.Process(driver.pid).children(recursive=True) if _is_worker(c)]
    if workers:
        how = signal.SIGKILL if harm == "kill worker" else signal.SIGTERM
        rng.choice(workers).send_signal(how)
    return bool(workers)


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "ray::Worker" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie, too
        return False


def _examine(url: str, n_trials: int) -> dict[str, Any]:
    """Count what there must be and what there must not be."""
    study = optuna.load_study(study_name=NAME, storage=open_storage(url))
    trials = study.trials
    states = Counter(trial.state for trial in trials)
    again = {t.system_attrs[CHECKPOINTS][0] for t in trials if CHECKPOINTS in t.system_attrs}
    given_up = [t for t in trials if _was_given_up(t)]
    complete = [t.value for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    trained, twice = count_epochs(trials)
    numbers = Counter(trial.number for trial in trials)
    return {
        "budget": n_trials,
        "finished": states[TrialState.COMPLETE] + states[TrialState.PRUNED],
        "failed": states[TrialState.FAIL],
        "running": states[TrialState.RUNNING],
        "waiting": states[TrialState.WAITING],
        "lost": len(set(range(len(trials))) - set(numbers)),
        "doubled": sum(count - 1 for count in numbers.values()),
        "unlinked": sum(trial._trial_id not in again for trial in given_up),
        "epochs": trained,
        "retrained_epochs_share": round(twice / trained, 4),
        "best_consistent": study.best_value == min(complete),
    }


def count_epochs(trials: list[FrozenTrial]) -> tuple[int, int]:
    """Count the epochs that were trained, and those of them that had been trained before.

    A checkpoint may know more epochs of a trial than were reported when its worker was killed;
    epochs that neither knows are not counted.
    """
    trained = twice = 0
    known: Counter[int] = Counter()
    for trial in sorted(trials, key=lambda trial: trial.number):
        origin = trial.user_attrs.get(RETRY_OF, trial.number)
        first, end = trial.user_attrs.get(RESUMED_AT, 0), len(trial.intermediate_values)
        trained += end - first + max(0, first - known[origin])
        twice += max(0, min(end, known[origin]) - first)
        known[origin] = max(known[origin], end)
    return trained, twice


def _was_given_up(trial: FrozenTrial) -> bool:
    return str(trial.user_attrs.get(FAILURE)).startswith(("lost", "interrupted"))


if __name__ == "__main__":
    typer.run(main)
