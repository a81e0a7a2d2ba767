"""Measure what `tagsweep status --watch` costs beside a large study: a first reading, a refresh."""

import io
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import numpy as np
import optuna
import typer
from optuna.study import Study
from optuna.trial import TrialState
from rich.console import Console
from sqlalchemy import Connection

from benchmarks.results import publish
from orchestrator.runs.database import embedded_postgres
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run
from orchestrator.status.status import Status, opened_status
from orchestrator.status.view import Screen, view
from shared.config.sweep import SweepConfig, with_values
from shared.study.attributes import NODE, WORKER
from shared.study.liveness import alone
from shared.study.study import open_study, read_progress
from shared.study.tables.count import TrialTally
from shared.study.tables.read import id_of
from shared.study.tables.storage import opened_storage
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.trials import Begun, begin_trials
from shared.study.tables.write import Ended, Report, write_reports

N_RUNNING = 64
N_STEPS = 50
NEW_PER_REFRESH = 10
"""Trials that finish between two refreshes: 600 a minute."""
ROUNDS = 20
SCREENS = {"80x24": Screen(80, 24, "utf-8"), "160x50": Screen(160, 50, "utf-8")}


def main(
    sizes: Annotated[list[int] | None, typer.Option(help="Finished trials.")] = None,
) -> None:
    """Time readings of studies of 5,000 and 10,000 finished trials of 50 steps, by default."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = {}
    for n_finished in sizes or [5_000, 10_000]:
        with (
            tempfile.TemporaryDirectory(prefix="watching-") as folder,
            embedded_postgres(Path(folder) / "postgres") as url,
            opened_storage(url) as storage,
        ):
            config = with_values(SweepConfig(), {"study": {"n_trials": 2 * n_finished}})
            run = Run(RunPaths(Path(folder)), config, url)
            study = open_study(storage, run.study_name, config, "f")
            found[str(n_finished)] = _measure(run, study, storage, n_finished)
    publish("watching", {"steps": N_STEPS, "running": N_RUNNING, "trials": found})


def _measure(run: Run, study: Study, storage: StudyStorage, n_finished: int) -> dict[str, Any]:
    for _ in range(n_finished // 500):
        _finish(storage, _begin(storage, study, 500))
    running = _begin(storage, study, N_RUNNING)
    whole_s, _ = _timed(lambda: read_progress(study))
    with opened_status(run) as read:
        first_s, status = _timed(read)
        refreshes_s = []
        for i in range(ROUNDS):
            _finish(storage, running[:NEW_PER_REFRESH])
            running = running[NEW_PER_REFRESH:] + _begin(storage, study, NEW_PER_REFRESH)
            reports = [Report(trial_id, {i: 0.5}) for trial_id in running]
            storage.transact(partial(write_reports, reports=reports))
            seconds, status = _timed(read)
            refreshes_s.append(seconds)
    return {
        "read_all_ms": _ms(whole_s),
        "first_reading_ms": _ms(first_s),
        "refresh_ms": _ms(float(np.median(refreshes_s))),
        "slowest_refresh_ms": _ms(max(refreshes_s)),
        "view_ms": {name: _ms(_draw_s(status, screen)) for name, screen in SCREENS.items()},
    }


def _begin(storage: StudyStorage, study: Study, n: int) -> list[int]:
    attrs = {WORKER: "worker-0", NODE: "here"}

    def work(connection: Connection) -> list[Begun]:
        counts = TrialTally(id_of(study)).count(connection)
        return begin_trials(connection, id_of(study), n, counts, attrs, uuid4().hex)

    begun = alone(storage, id_of(study), work)
    return [one.trial_id for one in begun]


def _finish(storage: StudyStorage, trial_ids: list[int]) -> None:
    values = {step: 1 / (2 + step) for step in range(N_STEPS)}
    reports = [
        Report(
            trial_id,
            values,
            {"epochs": N_STEPS, "seconds": 0.5},
            Ended(TrialState.COMPLETE, (1 / (1 + trial_id),)),
        )
        for trial_id in trial_ids
    ]
    storage.transact(lambda connection: write_reports(connection, reports))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started_s = time.monotonic()
    result = work()
    return time.monotonic() - started_s, result


def _draw_s(status: Status, screen: Screen) -> float:
    console = Console(file=io.StringIO(), width=screen.width, height=screen.height)
    return min(_timed(lambda: console.print(view(status, screen)))[0] for _ in range(ROUNDS))


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)


if __name__ == "__main__":
    typer.run(main)
