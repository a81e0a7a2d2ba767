"""Do seeded harm to a sweep, have it come to its end, and print what is lost.

`--n-trials 100 --n-workers 4 --kill-every 5 --seconds 300`; exits with 1 when anything is amiss,
and when harm that was asked for did not happen.
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import optuna
import typer

from benchmarks.chaos.database_harms import fill_disk
from benchmarks.chaos.examine import MAX_RETRAINED_SHARE, NONE, examine
from benchmarks.chaos.harms import HARMS, Harm
from benchmarks.chaos.sightings import sightings_of
from benchmarks.chaos.sweep import GRACE_S, Sweep, processes_in, small_disk
from benchmarks.results import publish
from orchestrator.runs.database import embedded_postgres
from shared.study.tables.storage import opened_storage

NAMES = [one.name for one in HARMS]
PATIENCE_S = 900
LEAVE_S = 60
"""How long processes get to leave when all is over."""


def main(
    n_trials: Annotated[int, typer.Option()] = 100,
    n_workers: Annotated[int, typer.Option()] = 4,
    kill_every: Annotated[float, typer.Option(help="Seconds between two harms, on average.")] = 5,
    seconds: Annotated[float, typer.Option(help="How long harm is done at the least.")] = 300,
    harm: Annotated[list[str], typer.Option(help="One to do; may be repeated.")] = NAMES,
    seed: Annotated[int, typer.Option()] = 0,
    keep: Annotated[bool, typer.Option(help="Keep the line in results/.")] = False,
) -> None:
    """Run a search through all harm to its end, and print what it came to."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, too
    if unknown := set(harm) - set(NAMES):
        raise typer.BadParameter(f"{unknown} must be of: {', '.join(NAMES)}")
    harms = [one for one in HARMS if one.name in harm]
    can_fill = any(one.do is fill_disk for one in harms)
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        folder = Path(temporary)
        with small_disk(folder / "run") if can_fill else nullcontext():
            found = _outlive(Sweep(folder, n_trials, n_workers), harms, kill_every, seconds, seed)
    found = {"budget": n_trials, **found}
    print(json.dumps(found)) if not keep else publish("chaos", found)
    if amiss := _amiss(found, harms):
        sys.exit(f"This is amiss: {', '.join(amiss)}")


def _outlive(
    sweep: Sweep, harms: list[Harm], kill_every: float, seconds: float, seed: int
) -> dict[str, Any]:
    """Search through all harm, and examine what is there then."""
    try:
        with sightings_of(sweep) as sightings:
            done, n_failures = _search(sweep, harms, kill_every, seconds, random.Random(seed))
        n_orphans = _count_orphans(sweep.folder)
        with embedded_postgres(sweep.paths.database) as url, opened_storage(url) as storage:
            study = optuna.load_study(study_name=sweep.paths.root.name, storage=storage)
            found = examine(study, sightings, GRACE_S)
    finally:
        for process in processes_in(sweep.folder):
            process.kill()
    return found | {"orphans": n_orphans, "driver_failures": n_failures, "harms": dict(done)}


def _search(
    sweep: Sweep, harms: list[Harm], kill_every: float, seconds: float, rng: random.Random
) -> tuple[Counter[str], int]:
    """Search, and do harm until all of it was done and `seconds` are over.

    Harms are dealt like cards, so that each has its turn; one that finds nothing to harm has it
    later. The driver is started again whenever it ended. Returns how often each harm was done, and
    how often the driver ended without any.
    """
    done, n_failures, hand = Counter({one.name: 0 for one in harms}), 0, list[Harm]()
    started = time.monotonic()
    while time.monotonic() < started + PATIENCE_S:
        try:
            if sweep.driver.wait(timeout=rng.uniform(0.5, 1.5) * kill_every) == 0:
                return done, n_failures
            n_failures += not sweep.is_harmed
            sweep.start()
        except subprocess.TimeoutExpired:
            ran_s = time.monotonic() - started
            hand = _deal(hand, harms, done, rng, is_late=ran_s > seconds)
            if hand:
                card = hand.pop(0)
                is_done = card.do(sweep, rng)
                done[card.name] += is_done
                hand += [] if is_done else [card]
                how = "" if is_done else ", in vain"
                print(f"{ran_s:.0f} s: {card.name}{how}", file=sys.stderr)
    raise TimeoutError(f"The search has not ended in {PATIENCE_S} s, after {done}.")


def _deal(
    hand: list[Harm], harms: list[Harm], done: Counter[str], rng: random.Random, *, is_late: bool
) -> list[Harm]:
    """Return the cards to draw from: all in turn, or when it is late those that must still come."""
    if is_late:
        hand = [one for one in harms if done[one.name] < one.least]
    elif hand:
        return hand
    else:
        hand = [one for one in harms for _ in range(one.n_cards)]
    return rng.sample(hand, len(hand))


def _count_orphans(folder: Path) -> int:
    """Count the processes that are still there after a while; say which."""
    deadline = time.monotonic() + LEAVE_S
    while (left := processes_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.5)
    for process in left:
        print(f"left: {process}", file=sys.stderr)
    return len(left)


def _amiss(found: dict[str, Any], harms: list[Harm]) -> list[str]:
    """Return the keys of what is not as it must be."""
    amiss = [key for key in (*NONE, "driver_failures") if found[key]]
    amiss += ["finished"] * (found["finished"] != found["budget"])
    amiss += ["best_consistent"] * (not found["best_consistent"])
    amiss += ["retrained_epochs_share"] * (found["retrained_epochs_share"] >= MAX_RETRAINED_SHARE)
    return amiss + [one.name for one in harms if found["harms"][one.name] < one.least]


if __name__ == "__main__":
    typer.run(main)
