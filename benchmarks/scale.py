"""Measure what worker, driver and `tagsweep status` cost beside a study of 100,000 trials."""

import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import optuna
import typer
from optuna.study import Study
from sqlalchemy import text

from benchmarks.coordination.tagsweep_worker import ARRAYS
from benchmarks.coordination.task import Task, fill
from benchmarks.results import publish
from orchestrator.events.events import Events
from orchestrator.events.follower import Follower
from orchestrator.events.prometheus import Exposition
from orchestrator.runs.database import embedded_postgres
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run, keep_config, load_run
from orchestrator.status.status import read_status
from shared.store import Store
from shared.study.attributes import SEARCH_S, Owner
from shared.study.pruning import Medians
from shared.study.study import load_study, read_progress
from shared.study.tables.count import TrialTally
from shared.study.tables.read import id_of
from shared.study.tables.storage import opened_storage
from shared.study.tables.study_storage import StudyStorage
from workers import PoolState, WorkerSpec
from workers.asking import Asker
from workers.heartbeat import Heartbeat
from workers.reporting import Reporter

STUDY = "large"
PATTERN = 1000
"""So many trials are written by tagsweep's own functions; SQL repeats them with other values."""
N_POLLS = 20
PATIENCE_S = 600.0
BIN = Path(sys.executable).parent
ATTRS = {
    "worker": '"worker-0"',
    "node": '"here"',
    "epochs": "50",
    "seconds": "12.5",
    "average precision (weighted)": "0.51",
    "average precision (macro)": "0.49",
}
"""What a trial says of itself, as JSON."""
REPEATED = (
    """INSERT INTO trials (trial_id, number, study_id, state)
       SELECT trial_id + k * :size, number + k * :size, study_id, state FROM trials, {copies}""",
    """UPDATE trials SET datetime_start = timezone('UTC', now()) - (:n - number) * interval '1 s',
       datetime_complete = timezone('UTC', now()) - (:n - number - 0.5) * interval '1 s'""",
    """INSERT INTO trial_values (trial_id, objective, value, value_type)
       SELECT trial_id + k * :size, objective, value + random() / 10, value_type
       FROM trial_values, {copies}""",
    """INSERT INTO trial_intermediate_values
       (trial_id, step, intermediate_value, intermediate_value_type)
       SELECT trial_id + k * :size, step, intermediate_value + random() / 10,
       intermediate_value_type FROM trial_intermediate_values, {copies}""",
    """INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
       SELECT trial_id + k * :size, param_name, param_value, distribution_json
       FROM trial_params, {copies}""",
    """INSERT INTO trial_user_attributes (trial_id, key, value_json)
       SELECT trial_id, key, value
       FROM trials, jsonb_each_text(cast(:attrs AS jsonb)) AS attrs (key, value)""",
    "SELECT setval('trials_trial_id_seq', (SELECT max(trial_id) FROM trials))",
)
"""What makes `n` trials of the first `size`, which have the lowest ids."""


def main(
    n_trials: Annotated[int, typer.Option(help="Finished trials.")] = 100_000,
    n_steps: Annotated[int, typer.Option(help="Intermediate values of each.")] = 50,
) -> None:
    """Fill a study in bulk, and measure each contender in a process of its own, alone."""
    with (
        tempfile.TemporaryDirectory(prefix="scale-") as folder,
        embedded_postgres(Path(folder) / "postgres") as url,
    ):
        task = Task(url, STUDY, n_trials + PATTERN, 1, 1, n_steps, 0.0)
        with opened_storage(url) as storage:
            fill(storage, task, PATTERN)
            _repeat(storage, n_trials)
        run = Run(RunPaths(Path(folder) / STUDY), task.config, url)
        keep_config(run)
        found: dict[str, float] = {"trials": n_trials, "steps": n_steps}
        for measure in (_measure_worker, _measure_driver, _measure_reading):
            found |= _alone(measure, run)
        publish("scale", found | _measure_command(run))


def _repeat(storage: StudyStorage, n_trials: int) -> None:
    """Repeat the trials that there are until there are `n_trials`, some of other values."""
    values = {"size": PATTERN, "n": n_trials, "attrs": json.dumps(ATTRS)}
    copies = f"generate_series(1, {n_trials // PATTERN - 1}) AS k"
    with storage.engine.begin() as connection:
        for statement in REPEATED:
            connection.execute(text(statement.format(copies=copies)), values)
    with storage.engine.connect() as connection:
        at_once = connection.execution_options(isolation_level="AUTOCOMMIT")
        at_once.execute(text("VACUUM ANALYZE"))


def _alone(measure: Callable[[Run], dict[str, float]], run: Run) -> dict[str, float]:
    """Measure in a fresh process, which has imported all that this file has."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_measure, measure, run.paths.root, str(run.storage_url)).result()


def _measure(measure: Callable[[Run], dict[str, float]], root: Path, url: str) -> dict[str, float]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return measure(load_run(root, url, {}))


def _measure_worker(run: Run) -> dict[str, float]:
    """Be a worker from its start to its first trial, as `workers.worker` and `open_bench` are."""
    before_mb, started_s = _memory_mb("VmRSS"), time.monotonic()
    names, store = ("a", "b"), Store("memory://")
    spec = WorkerSpec(str(run.storage_url), STUDY, "fingerprint", names, run.config, store, STUDY)
    with opened_storage(spec.storage_url) as storage:
        study = load_study(storage, STUDY, spec.config)
        heartbeat = Heartbeat(storage, id_of(study), STUDY, spec.config.workers)
        reporter = Reporter(study, storage, Medians(spec.config.study.pruner), heartbeat)
        widths = ARRAYS.widths_by_name(spec.config)
        asker = Asker(study, storage, heartbeat, spec, Owner("worker-0"), widths, n_ahead=1)
        asked = asker.take(PATIENCE_S)
        asked_s = time.monotonic()
        assert asked is not None, f"no trial within {PATIENCE_S:g} s"
        reporter.medians.should_prune({0: 0.5})
        reporter.send(asked.trial_id, {0: 0.5})
        reporter.close()
        reported_s, most_mb = time.monotonic(), _memory_mb("VmHWM")
        for one in (asker, heartbeat):
            one.close()
    return {
        "worker_first_ask_s": round(asked_s - started_s, 2),
        "worker_first_report_s": round(reported_s - asked_s, 2),
        "worker_memory_mb": round(most_mb - before_mb, 1),
    }


def _measure_driver(run: Run) -> dict[str, float]:
    """Be a driver that finds the study, and then looks at it again and again."""
    before_mb = _memory_mb("VmRSS")
    polls_s = []
    with opened_storage(str(run.storage_url)) as storage:
        study = optuna.load_study(storage=storage, study_name=STUDY)
        events = Events(run.paths.events, STUDY, Exposition(STUDY, run.config.study.n_trials))
        follower, tally = Follower(events, study, storage), TrialTally(id_of(study))
        for _ in range(1 + N_POLLS):
            started_s = time.monotonic()
            _poll(study, tally, follower)
            polls_s.append(time.monotonic() - started_s)
    return {
        "driver_first_poll_s": round(polls_s[0], 2),
        "driver_poll_ms": round(1000 * statistics.median(polls_s[1:]), 1),
        "driver_memory_mb": round(_memory_mb("VmHWM") - before_mb, 1),
    }


def _poll(study: Study, tally: TrialTally, follower: Follower) -> None:
    """Do with the study what `orchestrator.search.supervise.supervise` does between two sleeps."""
    progress = read_progress(study, tally)
    study.set_user_attr(SEARCH_S, 1.0)
    follower.look(PoolState(1), progress, 1.0)


def _measure_reading(run: Run) -> dict[str, float]:
    """Read the status in this process."""
    before_mb, started_s = _memory_mb("VmRSS"), time.monotonic()
    read_status(run)
    seconds = time.monotonic() - started_s
    memory_mb = _memory_mb("VmHWM") - before_mb
    return {"status_read_s": round(seconds, 2), "status_memory_mb": round(memory_mb, 1)}


def _measure_command(run: Run) -> dict[str, float]:
    """Run `tagsweep status` as it is typed, imports and all."""
    environment = os.environ | {"TAGSWEEP_STORAGE": str(run.storage_url)}
    command = [str(BIN / "tagsweep"), "status", str(run.paths.root)]
    started_s = time.monotonic()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return {"status_s": round(time.monotonic() - started_s, 2)}


def _memory_mb(which: str) -> float:
    """Return this process's memory: VmRSS is what it has, VmHWM the most that it ever had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (kilobytes,) = re.findall(rf"^{which}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(kilobytes) / 1024


if __name__ == "__main__":
    typer.run(main)
