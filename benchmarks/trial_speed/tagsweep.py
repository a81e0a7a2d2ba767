"""Search with tagsweep: the search stage of `tagsweep search`, Ray workers and PostgreSQL."""

from pathlib import Path

from rich.console import Console

from benchmarks.trial_speed.problem import Found
from orchestrator.data.prepare import prepare
from orchestrator.events.events import recording
from orchestrator.pipeline import driving, open_study_of
from orchestrator.pipeline import search as run_search_stage
from orchestrator.runs.run import Run, load_run
from workers import launch_workers

RUN = "run"
NEVER = 1_000_000


def search(folder: Path, n_trials: int, seed: int) -> Found:
    """Search as `tagsweep search` does, with median pruning."""
    return _search(_run(folder, f"pruned-{seed}", {"n_trials": n_trials}))


def search_unpruned(folder: Path, n_trials: int, seed: int) -> Found:
    """Search without pruning."""
    limits = {"n_trials": n_trials, "pruner": {"n_startup_trials": NEVER}}
    return _search(_run(folder, f"unpruned-{seed}", limits))


def _run(folder: Path, study_name: str, study: dict[str, object]) -> Run:
    return load_run(folder / RUN, None, {"study": {"name": study_name} | study})


def _search(run: Run) -> Found:
    console = Console(stderr=True, quiet=True)
    with recording(run) as events, launch_workers(run.config.workers) as pool:
        prepared = prepare(run, console)
        with (
            open_study_of(run, prepared, console, events) as opened,
            driving(run, prepared, opened) as driver,
        ):
            run_search_stage(run, prepared, opened, driver, pool, console)
            trials = opened.study.trials
            return Found(
                min(t.datetime_start.timestamp() for t in trials if t.datetime_start),
                max(t.datetime_complete.timestamp() for t in trials if t.datetime_complete),
                sum(t.state.name in {"COMPLETE", "PRUNED"} for t in trials),
                opened.study.best_value,
            )
