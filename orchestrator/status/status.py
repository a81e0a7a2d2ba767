"""Say how far a run is, from its study and its files alone."""

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from optuna.study import load_study
from optuna.trial import TrialState

from orchestrator.bundle.manifest import read_metrics
from orchestrator.ensemble.progress import (
    EnsembleProgress,
    describe_ensemble_progress,
    read_ensemble_progress,
)
from orchestrator.evaluation.headline import headline
from orchestrator.events.events import read_failure
from orchestrator.runs.locks import Lock, is_held
from orchestrator.runs.ray_job import JobStatus
from orchestrator.runs.run import Run, database_of
from orchestrator.search.supervise import pace
from orchestrator.stage import Stage, stage_of
from orchestrator.status.forecast import forecast
from orchestrator.status.nodes import NodeStatus, nodes_of
from orchestrator.status.study_reader import (
    Failure,
    Followed,
    FrontTrial,
    Improvement,
    RunningTrial,
    StudyReader,
)
from orchestrator.terminal.words import describe_s, say_values
from shared.config.sections import StudyConfig
from shared.config.sweep import parse_config
from shared.errors import TagsweepError
from shared.study.attributes import CONFIG, SEARCH_S
from shared.study.patience import Patience
from shared.study.study import StudyProgress, read_config
from shared.study.tables.read import id_of
from shared.study.tables.storage import opened_storage, redact
from shared.study.tables.study_storage import StudyStorage

SHOWN_FAILURES = 3
SHOWN_FRONT = 10
FAILURE_CHARACTERS = 90
"""How much is shown of a failure's reason."""


@dataclass(frozen=True)
class Status:
    """Hold what `tagsweep status --json` prints; `test` and what follows need the bundle.

    `trials_per_min` and `seconds_left` are what the latest trials let expect, `seconds_left_range`
    is its range (see `orchestrator.status.forecast`); while there are too few, they are what the
    whole search lets expect, without a range. `best_values` are the best trial's by objective, of
    which `best_value` is the first; the Pareto front is empty with one objective. `improvements`
    end with the latest, `failures` begin with it. `headline` is the result in lines, empty before
    it. `ensemble` is known while one is made, `failure` is why the last command failed, where none
    is at work.
    """

    study: str
    storage: str
    stage: Stage
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
    seconds_left_range: tuple[float, float] | None = None
    prune_rate: float | None = None
    is_driven: bool = False
    ensemble: EnsembleProgress | None = None
    failure: str | None = None
    objectives: tuple[str, ...] = ()
    best_values: tuple[float, ...] = ()
    pareto_front: tuple[FrontTrial, ...] = ()
    improvements: tuple[Improvement, ...] = ()
    running_trials: tuple[RunningTrial, ...] = ()
    nodes: tuple[NodeStatus, ...] = ()
    failures: tuple[Failure, ...] = ()
    headline: tuple[str, ...] = ()


def read_status(run: Run) -> Status:
    """Read a run's status, starting the embedded database for a moment if it is not running.

    Raises TagsweepError while there is no study yet.
    """
    with opened_status(run) as read:
        return read()


@contextmanager
def opened_status(run: Run) -> Iterator[Callable[[], Status]]:
    """Yield a function that reads the status, what has changed only when it is called again.

    The embedded database runs for as long. Raises TagsweepError while there is no study yet; the
    function raises what `shared.study.patience.is_outage` knows while the database is away.
    """
    if run.storage_url is None and not run.paths.database.exists():
        raise _no_study(run)
    with database_of(run) as url, opened_storage(url) as storage:
        if read_config(storage, run.study_name) is None:
            raise _no_study(run)
        storage.patience = Patience(0)  # whoever looks is told at once
        yield _Reader(run, storage).read


def describe_status(status: Status) -> str:
    """Say a status in some lines for a person."""
    best = say_values(status.objectives, status.best_values)
    params = f"{best} {json.dumps(status.best_params)}" if best else "none yet"
    rate = "" if status.prune_rate is None else f", {status.prune_rate:.0%} pruned"
    counts = (
        f"{status.complete} complete, {status.pruned} pruned, {status.failed} failed,"
        f" {status.running} running"
    )
    pace_now = f"{status.trials_per_min:.1f} trials/min{_describe_left(status)}"
    lines = [
        f"Study    {status.study} on {status.storage}",
        f"Stage    {describe_stage(status)}",
        f"Trials   {describe_budget(status)} finished{rate}",
        f"         {counts}",
        f"Best     {params}",
        f"Pace     {pace_now}, {status.workers} workers",
    ]
    if status.ensemble is not None:
        lines.insert(2, f"         {describe_ensemble(status.ensemble)}")
    if status.failure is not None:
        lines.insert(2, f"         The last command failed: {status.failure}")
    if status.pareto_front:
        numbers = ", ".join(f"#{one.trial}" for one in status.pareto_front[:SHOWN_FRONT])
        more = ", ..." if len(status.pareto_front) > SHOWN_FRONT else ""
        lines.append(f"Front    {len(status.pareto_front)} of {status.complete}: {numbers}{more}")
    lines += [
        f"Node     {node.node}: {node.workers} workers, {node.training} trials in training,"
        f" {node.utilisation:.0%} busy"
        for node in status.nodes
    ]
    for failure in status.failures[:SHOWN_FAILURES]:
        reason = textwrap.shorten(failure.reason, FAILURE_CHARACTERS, placeholder=" ...")
        lines.append(f"Failed   #{failure.trial} {reason}")
    lines += [f"{'Test' if i == 0 else '':<9}{line}" for i, line in enumerate(status.headline)]
    return "\n".join(lines)


def describe_stage(status: Status) -> str:
    """Say what is going on, or why nothing is."""
    if status.stage is Stage.DONE:
        return "done"
    if status.stage is Stage.SEARCH and (status.is_driven or status.running):
        return "searching"
    if status.ensemble is not None:
        return "making its ensemble"
    if status.stage is Stage.SEARCH:
        return "nobody is searching; go on with `tagsweep resume`"
    if status.is_driven:
        return "the search is over, its ensemble comes next"
    return "the search is over, its ensemble is not made yet; go on with `tagsweep resume`"


def describe_ensemble(progress: EnsembleProgress) -> str:
    """Say how far an ensemble is, and when its members will be trained."""
    left_s = progress.seconds_left
    left = "" if left_s is None else f", about {describe_s(left_s)} left"
    return f"{describe_ensemble_progress(progress)}{left}"


def describe_budget(status: Status) -> str:
    """Say how many trials of the budget have finished; a smaller one may have come later."""
    if status.finished > status.budget:
        return f"{status.finished} ({status.budget} asked for)"
    return f"{status.finished} of {status.budget}"


def describe_job(status: JobStatus) -> str:
    """Say what is known of a launched run's job in some lines for a person."""
    lines = [f"Job      {status.job_id} on {status.address}", f"State    {status.state}"]
    if status.state == "FAILED":
        lines.append(f"         {status.message}")
    if status.stage is not None:
        lines.append(f"{status.stage:<9}{status.done} of {status.total} {status.detail}".rstrip())
    return "\n".join(lines)


class _Reader:
    """Remember what was read of a study before."""

    def __init__(self, run: Run, storage: StudyStorage) -> None:
        self._run, self._storage = run, storage
        self._study = load_study(storage=storage, study_name=run.study_name)
        self._follower = StudyReader(id_of(self._study), self._study.directions)
        self._params: dict[int, dict[str, Any]] = {}

    def read(self) -> Status:
        """Read what has changed since; the budget too may have been raised."""
        # Optuna would go on in a session that an outage has spoilt.
        self._storage.remove_session()
        attrs = self._study.user_attrs
        config = parse_config(json.loads(attrs[CONFIG]), f"study {self._run.study_name!r}")
        run = replace(self._run, config=config)
        followed = self._follower.read(self._storage)
        best = followed.improvements[-1] if followed.improvements else None
        progress = _progress_of(followed.counts)
        searched_s, limits = float(attrs[SEARCH_S]), config.study
        trials_per_min, left_s, range_s = _foresee(progress, followed, limits, searched_s)
        is_driven, is_made = (
            is_held(self._storage, run.study_name, lock) for lock in (Lock.SEARCH, Lock.ENSEMBLE)
        )
        stage = stage_of(run, self._study, self._storage)
        is_well = is_driven or is_made or stage is Stage.DONE
        metrics = read_metrics(run.paths.bundle) if run.paths.bundle.exists() else {}
        return Status(
            study=run.study_name,
            storage=redact(self._storage.url),
            stage=stage,
            budget=limits.n_trials,
            finished=progress.finished,
            complete=progress.complete,
            pruned=progress.pruned,
            failed=progress.failed,
            running=progress.running,
            waiting=progress.waiting,
            best_value=best.value if best else None,
            best_params=self._params_of(best.trial) if best else None,
            trials_per_min=round(trials_per_min, 2),
            workers=len({(trial.node, trial.worker) for trial in followed.running}),
            seconds_left=left_s,
            test=metrics.get("test"),
            out_of_fold=metrics.get("out_of_fold"),
            logistic_regression=metrics.get("logistic_regression"),
            seconds_left_range=range_s,
            prune_rate=progress.pruned / progress.finished if progress.finished else None,
            is_driven=is_driven,
            ensemble=read_ensemble_progress(attrs) if is_made else None,
            failure=None if is_well else read_failure(run.paths.events),
            objectives=limits.objective,
            best_values=followed.best_values,
            pareto_front=followed.front if limits.is_multi_objective else (),
            improvements=followed.improvements,
            running_trials=followed.running,
            nodes=nodes_of(followed, config.workers.heartbeat_grace_s),
            failures=followed.failures,
            headline=tuple(headline(metrics)) if "comparison" in metrics else (),
        )

    def _params_of(self, number: int) -> dict[str, Any]:
        """Return the parameters of the best trial, read once."""
        if number not in self._params:
            study_id = id_of(self._study)
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
            self._params = {number: self._storage.get_trial(trial_id).params}
        return self._params[number]


def _progress_of(counts: Counter[TrialState]) -> StudyProgress:
    return StudyProgress(
        complete=counts[TrialState.COMPLETE],
        pruned=counts[TrialState.PRUNED],
        failed=counts[TrialState.FAIL],
        running=counts[TrialState.RUNNING],
        waiting=counts[TrialState.WAITING],
        best=None,
    )


def _foresee(
    progress: StudyProgress, followed: Followed, limits: StudyConfig, searched_s: float
) -> tuple[float, float | None, tuple[float, float] | None]:
    """Return trials a minute, the seconds left, and their range where there is one."""
    found = forecast(followed.finished, max(0, limits.n_trials - progress.finished))
    if found is None:
        whole = pace(progress, limits.n_trials, limits.timeout_s, searched_s)
        return whole.trials_per_min, whole.seconds_left, None
    most_s = inf if limits.timeout_s is None else max(0.0, limits.timeout_s - searched_s)
    least_s, greatest_s = min(found.at_least_s, most_s), min(found.at_most_s, most_s)
    return found.trials_per_min, min(found.seconds_left, most_s), (least_s, greatest_s)


def _no_study(run: Run) -> TagsweepError:
    return TagsweepError(
        f"Run {run.paths.root} has no study {run.study_name!r} yet. Start or resume it with"
        f" `tagsweep run --run-dir {run.paths.root}`; a study on a server needs --storage."
    )


def _describe_left(status: Status) -> str:
    """Say how long the search will take; a search that is over needs no time."""
    if status.stage is not Stage.SEARCH:
        return ""
    if status.seconds_left is None:
        return ", time left unknown before a trial has finished"
    if not status.seconds_left or status.seconds_left_range is None:
        return f", {status.seconds_left:.0f} s left"
    least_s, most_s = status.seconds_left_range
    return f", {status.seconds_left:.0f} s left ({least_s:.0f} to {most_s:.0f} s)"
