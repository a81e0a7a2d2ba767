"""Run a sweep as its user would, on the embedded database of its run directory."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from orchestrator.runs.paths import RunPaths
from orchestrator.runs.postgres_folder import SUPERUSER
from shared.study.attributes import PROCESS

TAGSWEEP = Path(sys.executable).with_name("tagsweep")
DATA = Path(os.environ.get("TAGSWEEP_TEST_DATA", "../shared/data")) / "emotions.csv"
GRACE_S = 6.0
CONFIG = """
data: {{csv: {csv}}}
study: {{n_trials: {n_trials}, pruner: {{n_warmup_steps: 24}}}}
space: {{batch_size: {{low: 8, high: 16}}}}
training: {{max_epochs: 40, early_stopping_patience: 40}}
workers:
  max: {n_workers}
  heartbeat_interval_s: 1
  heartbeat_grace_s: {grace_s}
  checkpoint_interval_s: 0
  max_retries: 99
"""
"""Trials of some seconds, which are long because they train much, and are kept at each epoch."""


class Sweep:
    """A sweep in a folder, and the process that drives its search.

    All that its processes leave behind, Ray's among them, lies in the folder.
    """

    def __init__(self, folder: Path, n_trials: int, n_workers: int) -> None:
        """Prepare the run, and do not search yet."""
        self.folder, self.paths = folder, RunPaths(folder / "run")
        self._environment = os.environ | {"RAY_TMPDIR": str(folder)}
        self._environment.pop("TAGSWEEP_STORAGE", None)
        config = folder / "chaos.yaml"
        config.write_text(
            CONFIG.format(
                csv=DATA.resolve(), n_trials=n_trials, n_workers=n_workers, grace_s=GRACE_S
            )
        )
        run_dir = ("--run-dir", str(self.paths.root))
        subprocess.run(
            self.command("prepare", str(config), *run_dir),
            env=self._environment,
            stdout=sys.stderr,
            check=True,
        )
        self.start()

    def start(self) -> None:
        """Have a driver search, the first one or one more."""
        self.is_harmed = False
        self.driver = subprocess.Popen(
            self.command("search", str(self.paths.root)),
            env=self._environment,
            stdout=sys.stderr,
        )

    def command(self, *words: str) -> list[str]:
        """Return a command of tagsweep's, to which a hang-up means what it does in a terminal."""
        # `nohup` has its children ignore it, and theirs.
        return ["env", "--default-signal=HUP", str(TAGSWEEP), *words, "--quiet"]

    def processes(self) -> list[psutil.Process]:
        """Return the driver's processes: Ray's and, among them, the workers."""
        try:
            return psutil.Process(self.driver.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def workers(self) -> list[psutil.Process]:
        """Return the processes of the driver's workers."""
        return [process for process in self.processes() if _says(process, "ray::Worker")]

    def raylets(self) -> list[psutil.Process]:
        """Return the process by which Ray holds all others on this machine."""
        return [p for p in self.processes() if _says(p, "/raylet ")]

    def at_work(self) -> list[psutil.Process]:
        """Return the workers that have a trial, by what the database says; none while it is away.

        Trials of workers that are gone may run by its word, too.
        """
        try:
            rows = self.execute(
                "SELECT DISTINCT value_json::int FROM trial_user_attributes"
                " JOIN trials USING (trial_id) WHERE state = 'RUNNING' AND key = %s",
                PROCESS,
            )
        except psycopg2.Error:
            return []
        return [worker for worker in self.workers() if (worker.pid,) in rows]

    def write(self) -> None:
        """Have the database write, without a trace; raise what psycopg2 raises if it cannot."""
        self.execute("SELECT FROM studies FOR KEY SHARE SKIP LOCKED")

    def execute(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """Execute a statement by itself in the run's database, and return its rows."""
        host = str(self.paths.database)
        connection = psycopg2.connect(host=host, user=SUPERUSER, connect_timeout=2)
        with closing(connection), connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk that is soon full, for as long as the block lasts. Only root may."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "chaos", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def beyond_the_grace(rng: random.Random) -> float:
    """Draw for how long to harm what must outlast more than the grace."""
    return GRACE_S + rng.uniform(2, 5)


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return the processes that lie in a folder, have a file of it open, or were told of it."""
    return [process for process in psutil.process_iter() if _is_in(process, str(folder))]


def _is_in(process: psutil.Process, folder: str) -> bool:
    try:
        own = Path("/proc") / str(process.pid)
        links = [own / "cwd", *(own / "fd").iterdir()]
        return any(str(link.readlink()).startswith(folder) for link in links) or _says(
            process, folder
        )
    except (psutil.NoSuchProcess, OSError):  # it ends while it is looked at
        return False


def _says(process: psutil.Process, words: str) -> bool:
    try:
        return words in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie, too
        return False
