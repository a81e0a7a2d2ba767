"""Read the arguments of the commands that look at studies, or tidy them up; nothing else."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import (
    RunDir,
    ServerStorage,
    Storage,
)
from orchestrator.terminal.console import LogLevel, exit_codes, open_terminal


def status(
    run_dir: RunDir,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until the run is done.")] = False,
    storage: Storage = None,
) -> None:
    """Show how far a run is: trials by state, budget, best value, pace, workers, result.

    Of a launched run, without --storage, what its cluster knows: the job's state and progress.
    """
    if watch and as_json:
        raise typer.BadParameter("Choose one of --watch and --json.")
    with exit_codes():
        from orchestrator.runs.run import load_run
        from orchestrator.status.status import describe_job, describe_status, read_status

        current = load_run(run_dir, storage, {})
        if watch:
            from rich.console import Console

            from orchestrator.status.live import watch as show

            show(current, Console())
            return
        if storage is None and current.paths.job.exists():
            from orchestrator.runs.ray_job import read_job, require_job

            job = read_job(require_job(current))
            typer.echo(json.dumps(asdict(job), indent=2) if as_json else describe_job(job))
            return
        found = read_status(current)
        typer.echo(json.dumps(asdict(found), indent=2) if as_json else describe_status(found))


def dashboard(
    run_dir: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Default: all studies of --storage.")
    ] = None,
    storage: Storage = None,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")
    ] = 8080,
    i_know: Annotated[
        bool, typer.Option("--i-know", help="Listen where others reach it: it has no passwords.")
    ] = False,
) -> None:
    """Serve optuna-dashboard, beside a sweep or after it, until Ctrl-C."""
    with exit_codes():
        from orchestrator.dashboard.server import serve
        from orchestrator.runs.run import load_run

        shown = None if run_dir is None else load_run(run_dir, storage, {})
        serve(shown, storage, host, port, is_known_open=i_know)


def report(
    run_dir: RunDir,
    show_texts: Annotated[
        bool, typer.Option("--show-texts", help="Show the texts of the worst mistakes.")
    ] = False,
    storage: Storage = None,
) -> None:
    """Write the report anew, also in the middle of a sweep: one page that needs no network."""
    with exit_codes():
        from orchestrator.report.page import write_report
        from orchestrator.runs.housekeeping import study_of
        from orchestrator.runs.run import load_run

        reported = load_run(run_dir, storage, {})
        open_terminal(reported.paths.log, LogLevel.WARNING, quiet=True)
        with study_of(reported) as (study, _):
            write_report(reported, study, show_texts=show_texts)
        typer.echo(f"Report: {reported.paths.report}")


def studies(storage: ServerStorage = "") -> None:
    """List the studies on a server: trials finished, budget, best value."""
    with exit_codes():
        from orchestrator.runs.housekeeping import describe_studies, list_studies

        typer.echo(describe_studies(list_studies(storage)))


def export(
    run_dir: RunDir,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Its name ends in .csv or .parquet."),
    ] = None,
    curves: Annotated[
        bool, typer.Option("--curves/--no-curves", help="Have a column for each epoch's value.")
    ] = True,
    mlflow: Annotated[
        str | None,
        typer.Option("--mlflow", metavar="URI", help="http://HOST:PORT, sqlite:///FILE, ..."),
    ] = None,
    storage: Storage = None,
) -> None:
    """Write all trials to a table or to MLflow: state, values, times, parameters, attributes.

    To MLflow, what it does not have yet.
    """
    if (output is None) == (mlflow is None):
        raise typer.BadParameter("Give either --output FILE or --mlflow URI.")
    with exit_codes():
        from orchestrator.runs.run import load_run

        run = load_run(run_dir, storage, {})
        if output is not None:
            from orchestrator.runs.housekeeping import export_trials

            n_trials = export_trials(run, output, has_curves=curves)
            typer.echo(f"Wrote {n_trials} trials to {output}.")
        if mlflow is not None:
            from orchestrator.exports.to_mlflow import export_to_mlflow

            n_new = export_to_mlflow(run, mlflow)
            typer.echo(f"Wrote {n_new} new trials to experiment {run.study_name!r} of MLflow.")


def delete(
    run_dir: RunDir,
    storage: Storage = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a run: its study, with --storage on the server, and its directory."""
    with exit_codes():
        from orchestrator.runs.housekeeping import delete_run, describe_loss
        from orchestrator.runs.run import load_run

        doomed = load_run(run_dir, storage, {})
        if not yes and not typer.confirm(f"{describe_loss(doomed)} Delete?"):
            typer.echo("Nothing was deleted.")
            return
        delete_run(doomed)
        typer.echo(f"Deleted {run_dir}.")
