"""Read the arguments of the commands that work through Ray's Jobs API; nothing else."""

from typing import TYPE_CHECKING

import typer

from orchestrator.cli.options import (
    ConfigFile,
    Files,
    JobAddress,
    Level,
    NTrials,
    NWorkers,
    OptionalRunDir,
    Quiet,
    RunDir,
    StudyName,
    Timeout,
    overrides,
)
from orchestrator.terminal.console import LogLevel, exit_codes, open_terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.runs.ray_job import Job
    from orchestrator.runs.run import Run


def launch(
    config: ConfigFile = None,
    data: Files = None,
    n_trials: NTrials = None,
    timeout: Timeout = None,
    n_workers: NWorkers = None,
    ray_address: JobAddress = "http://127.0.0.1:8265",
    run_dir: OptionalRunDir = None,
    study_name: StudyName = None,
    quiet: Quiet = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Run all stages as a job on a Ray cluster, and follow it; it goes on when you leave."""
    options = overrides(locals())
    with exit_codes():
        from orchestrator.runs.ray_job import launch as submit
        from orchestrator.runs.run import define_run, keep_config

        sweep = define_run(config, run_dir, None, options)
        console = open_terminal(sweep.paths.log, log_level, quiet=quiet)
        job = submit(sweep, ray_address)
        keep_config(sweep)
        typer.echo(f"Job {job.job_id} is at work on {job.address}.")
        _follow(job, sweep, console)


def logs(run_dir: RunDir) -> None:
    """Show what a launched run has written so far, and follow it until it has ended."""
    with exit_codes():
        from orchestrator.runs.ray_job import require_job
        from orchestrator.runs.run import load_run

        sweep = load_run(run_dir, None, {})
        _follow(require_job(sweep), sweep, open_terminal(None, LogLevel.WARNING, quiet=False))


def stop(run_dir: RunDir) -> None:
    """Stop a launched run; launching it again goes on."""
    with exit_codes():
        from orchestrator.runs.ray_job import require_job, stop_job
        from orchestrator.runs.run import load_run

        job = require_job(load_run(run_dir, None, {}))
        stop_job(job)
        typer.echo(f"Job {job.job_id} was told to stop.")


def _follow(job: "Job", sweep: "Run", console: "Console") -> None:
    from orchestrator.runs.ray_job import follow

    try:
        follow(job, console)
    except KeyboardInterrupt:
        root = sweep.paths.root
        typer.echo(f"The job goes on. Watch it: tagsweep logs {root}. End it: tagsweep stop {root}")
