"""Say how far a run is, from its study and its files alone."""

import json
from dataclasses import dataclass
from typing import Any

from optuna.storages import RDBStorage
from optuna.study import Study, load_study

from orchestrator.launch import JobStatus
from orchestrator.pipeline import is_searched
from orchestrator.result import is_bundled
from orchestrator.run import Run, database_of
from orchestrator.supervise import pace
from shared.bundle import read_metrics
from shared.errors import TagsweepError
from shared.search.bulk_read import id_of
from shared.search.liveness import workers_of_running
from shared.search.storage import opened_storage, redact
from shared.search.study import SEARCH_S, read_config, read_progress


@dataclass(frozen=True)
class Status:
    """Hold what `tagsweep status --json` prints; `test` and what follows need the bundle."""

    study: str
    storage: str
    stage: str
    budget: int
    finished: int
    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int
    best_value: float | None
    best_params: dict[str, Any] | None
    trials_per_min: float
    workers: int
    seconds_left: float | None
    test: dict[str, Any] | None
    out_of_fold: dict[str, Any] | None
    logistic_regression: dict[str, Any] | None


def read_status(run: Run) -> Status:
    """Read a run's status, starting the embedded database for a moment if it is not running.

    Raises TagsweepError while there is no study yet.
    """
    if run.storage_url is None and not run.paths.database.exists():
        raise _no_study(run)
    with database_of(run) as url, opened_storage(url) as storage:
        if read_config(storage, run.study_name) is None:
            raise _no_study(run)
        study = load_study(storage=storage, study_name=run.study_name)
        return _status_of(run, study, storage, redact(url))


def describe_status(status: Status) -> str:
    """Say a status in some lines for a person."""
    best = "none yet" if status.best_value is None else f"{status.best_value:.4f}"
    left = "unknown" if status.seconds_left is None else f"{status.seconds_left:.0f} s"
    counts = (
        f"{status.complete} complete, {status.pruned} pruned, {status.failed} failed,"
        f" {status.running} running"
    )
    lines = [
        f"Study    {status.study} on {status.storage}",
        f"Stage    {status.stage}",
        f"Trials   {status.finished} of {status.budget} finished",
        f"         {counts}",
        f"Best     {best} {json.dumps(status.best_params or {})}",
        f"Pace     {status.trials_per_min:.1f} trials/min, {left} left, {status.workers} workers",
    ]
    if status.test and status.logistic_regression:
        ours, baseline = status.test["ap_weighted"], status.logistic_regression["ap_weighted"]
        lines.append(f"Test     weighted AP {ours:.4f}, logistic regression {baseline:.4f}")
    return "\n".join(lines)


def describe_job(status: JobStatus) -> str:
    """Say what is known of a launched run's job in some lines for a person."""
    lines = [f"Job      {status.job_id} on {status.address}", f"State    {status.state}"]
    if status.state == "FAILED":
        lines.append(f"         {status.message}")
    if status.stage is not None:
        lines.append(f"{status.stage:<9}{status.done} of {status.total} {status.detail}".rstrip())
    return "\n".join(lines)


def _status_of(run: Run, study: Study, storage: RDBStorage, url: str) -> Status:
    progress = read_progress(study)
    limits = run.config.study
    now = pace(progress, limits.n_trials, limits.timeout_s, study.user_attrs[SEARCH_S])
    metrics = read_metrics(run.paths.bundle) if run.paths.bundle.exists() else {}
    return Status(
        study=run.study_name,
        storage=url,
        stage=_stage(run, study, storage),
        budget=limits.n_trials,
        finished=progress.finished,
        complete=progress.complete,
        pruned=progress.pruned,
        failed=progress.failed,
        running=progress.running,
        waiting=progress.waiting,
        best_value=progress.best.value if progress.best else None,
        best_params=progress.best.params if progress.best else None,
        trials_per_min=round(now.trials_per_min, 2),
        workers=len(set(workers_of_running(storage, id_of(study)).values())),
        seconds_left=now.seconds_left,
        test=metrics.get("test"),
        out_of_fold=metrics.get("out_of_fold"),
        logistic_regression=metrics.get("logistic_regression"),
    )


def _stage(run: Run, study: Study, storage: RDBStorage) -> str:
    if not is_searched(run, study, storage):
        return "search"
    return "done" if is_bundled(run, study) else "ensemble"


def _no_study(run: Run) -> TagsweepError:
    return TagsweepError(
        f"Run {run.paths.root} has no study {run.study_name!r} yet. Start or resume it with"
        f" `tagsweep run --run-dir {run.paths.root}`; a study on a server needs --storage."
    )
