"""Profile the workers of a real search: what processor time each of their threads takes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.results import publish

DATA = Path(os.environ.get("TAGSWEEP_TEST_DATA", "../shared/data")) / "emotions.csv"
BIN = Path(sys.executable).parent
WORKER = "ray::Worker"
COORDINATION = ("asker", "reporter", "heartbeat")
"""The threads of a worker that talk to the study."""
SAMPLE_EVERY_S = 0.5


@dataclass
class Profile:
    """Hold the seconds of each thread, by its id, the threads' names, and what the start took."""

    seconds: dict[int, float] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    start_s: float | None = None

    def sample(self, process: psutil.Process) -> None:
        """Read the seconds so far; what a thread takes after the last sample is not seen."""
        self.seconds |= {one.id: one.user_time + one.system_time for one in process.threads()}
        self.names |= _names_of_threads(process.pid)
        if self.start_s is None and "asker" in self.names.values():
            self.start_s = sum(self.seconds.values())

    def by_name(self) -> Counter[str]:
        """Sum up by name; TensorFlow's and Ray's own threads have none that Python knows."""
        found: Counter[str] = Counter()
        for thread, seconds in self.seconds.items():
            name = self.names.get(thread, "native threads").rstrip("_-0123456789")
            found[name] += seconds  # type: ignore[assignment]  # Counter is typed for whole numbers
        return found


def main(
    n_trials: Annotated[int, typer.Option(help="Trials to finish.")] = 200,
    n_workers: Annotated[int, typer.Option(help="Worker processes.")] = 2,
) -> None:
    """Search emotions.csv, and watch every worker's threads from its birth."""
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        run, tagsweep = Path(folder) / "run", BIN / "tagsweep"
        prepare = ["prepare", "--data", str(DATA), "--run-dir", str(run), "--quiet"]
        subprocess.run([tagsweep, *prepare], check=True)
        budget = ["--n-trials", str(n_trials), "--n-workers", str(n_workers)]
        search = subprocess.Popen([tagsweep, "search", str(run), *budget, "--quiet"])
        profiles = _watch(search)
    publish("search_profile", {"n_trials": n_trials, "n_workers": n_workers} | _summary(profiles))


def _watch(search: subprocess.Popen[bytes]) -> list[Profile]:
    profiles: dict[psutil.Process, Profile] = {}
    driver = psutil.Process(search.pid)
    while search.poll() is None:
        for process in driver.children(recursive=True):
            try:
                if " ".join(process.cmdline()).startswith(WORKER):
                    profiles.setdefault(process, Profile()).sample(process)
            except psutil.Error:
                continue
        time.sleep(SAMPLE_EVERY_S)
    if search.returncode:
        sys.exit("The search failed.")
    return list(profiles.values())


def _names_of_threads(pid: int) -> dict[int, str]:
    """Ask py-spy; a process that is just ending answers nothing."""
    command = [str(BIN / "py-spy"), "dump", "--pid", str(pid), "--json"]
    dumped = subprocess.run(command, capture_output=True, text=True, check=False)
    if dumped.returncode:
        return {}
    return {
        thread["os_thread_id"]: thread["thread_name"]
        for thread in json.loads(dumped.stdout)
        if thread["thread_name"]
    }


def _summary(profiles: list[Profile]) -> dict[str, Any]:
    seconds: Counter[str] = Counter()
    for profile in profiles:
        seconds += profile.by_name()
    start_s = sum(profile.start_s or 0.0 for profile in profiles)
    coordination_s = sum(seconds[name] for name in COORDINATION)
    return {
        "cpu_s": {name: round(value, 2) for name, value in seconds.most_common()},
        "start_s": round(start_s, 2),
        "coordination_share": round(coordination_s / seconds.total(), 4),
        "coordination_share_after_start": round(coordination_s / (seconds.total() - start_s), 4),
    }


if __name__ == "__main__":
    typer.run(main)
