"""Read the arguments of the commands that run stages; nothing else."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import (
    ClassColumn,
    ConfigFile,
    Dashboard,
    EncoderName,
    Encoding,
    Files,
    LabelColumns,
    Level,
    ListColumn,
    MetricsPort,
    NTrials,
    NWorkers,
    OptionalRunDir,
    Quiet,
    RayAddress,
    RunDir,
    Seed,
    Separator,
    ServerStorage,
    Storage,
    StudyName,
    TextColumn,
    Timeout,
    overrides,
)
from orchestrator.terminal.console import LogLevel, exit_codes, open_terminal

if TYPE_CHECKING:
    from orchestrator.conclude import Result
    from orchestrator.runs.run import Run


def run(
    config: ConfigFile = None,
    data: Files = None,
    encoding: Encoding = None,
    separator: Separator = None,
    text_column: TextColumn = None,
    label_columns: LabelColumns = None,
    list_column: ListColumn = None,
    class_column: ClassColumn = None,
    encoder: EncoderName = None,
    n_trials: NTrials = None,
    timeout: Timeout = None,
    n_workers: NWorkers = None,
    ray_address: RayAddress = None,
    run_dir: OptionalRunDir = None,
    storage: Storage = None,
    study_name: StudyName = None,
    seed: Seed = None,
    dashboard: Dashboard = False,
    metrics_port: MetricsPort = None,
    quiet: Quiet = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Run all stages: embed, split, search, ensemble. The same command again goes on."""
    options = overrides(locals())
    with exit_codes():
        from orchestrator.pipeline import run_all
        from orchestrator.runs.run import define_run

        sweep = define_run(config, run_dir, storage, options, ray_address, has_dashboard=dashboard)
        _print_result(sweep, run_all(sweep, open_terminal(sweep.paths.log, log_level, quiet=quiet)))


def resume(
    run_dir: RunDir,
    n_trials: NTrials = None,
    timeout: Timeout = None,
    n_workers: NWorkers = None,
    ray_address: RayAddress = None,
    storage: Storage = None,
    dashboard: Dashboard = False,
    metrics_port: MetricsPort = None,
    quiet: Quiet = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Go on with a run where it stopped; more trials or time extend its budget."""
    options = overrides(locals())
    with exit_codes():
        from orchestrator.pipeline import run_all
        from orchestrator.runs.run import load_run

        sweep = load_run(run_dir, storage, options, ray_address, has_dashboard=dashboard)
        _print_result(sweep, run_all(sweep, open_terminal(sweep.paths.log, log_level, quiet=quiet)))


def worker(
    study_name: Annotated[str, typer.Option("--study-name", help="The study to work on.")],
    storage: ServerStorage = "",
) -> None:
    """Attach this machine to a study as one more worker, without Ray."""
    with exit_codes():
        from orchestrator.terminal.console import quiet_keras

        quiet_keras()
        from orchestrator.search.attach import attach

        open_terminal(None, LogLevel.WARNING, quiet=True)
        if not attach(storage, study_name):
            raise KeyboardInterrupt
        typer.echo(f"The search of study {study_name!r} is over.")


def prepare(
    config: ConfigFile = None,
    data: Files = None,
    encoding: Encoding = None,
    separator: Separator = None,
    text_column: TextColumn = None,
    label_columns: LabelColumns = None,
    list_column: ListColumn = None,
    class_column: ClassColumn = None,
    encoder: EncoderName = None,
    ray_address: RayAddress = None,
    run_dir: OptionalRunDir = None,
    seed: Seed = None,
    quiet: Quiet = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Embed the texts and split the rows, no more."""
    options = overrides(locals())
    with exit_codes():
        from orchestrator.pipeline import run_prepare
        from orchestrator.runs.run import define_run

        sweep = define_run(config, run_dir, None, options, ray_address)
        run_prepare(sweep, open_terminal(sweep.paths.log, log_level, quiet=quiet))
        typer.echo(f"Prepared {sweep.paths.root}. Go on with: tagsweep search {sweep.paths.root}")


def search(
    run_dir: RunDir,
    n_trials: NTrials = None,
    timeout: Timeout = None,
    n_workers: NWorkers = None,
    ray_address: RayAddress = None,
    storage: Storage = None,
    dashboard: Dashboard = False,
    metrics_port: MetricsPort = None,
    quiet: Quiet = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Search a prepared run until its budget is spent."""
    options = overrides(locals())
    with exit_codes():
        from orchestrator.pipeline import run_search
        from orchestrator.runs.run import load_run

        sweep = load_run(run_dir, storage, options, ray_address, has_dashboard=dashboard)
        progress = run_search(sweep, open_terminal(sweep.paths.log, log_level, quiet=quiet))
        typer.echo(
            f"Study {sweep.study_name!r} has {progress.finished} finished trials,"
            f" {progress.pruned} of them pruned. Go on with: tagsweep ensemble {run_dir}"
        )


def ensemble(
    run_dir: RunDir,
    trial: Annotated[
        int | None, typer.Option("--trial", help="Of this trial alone; default: the best.")
    ] = None,
    storage: Storage = None,
    quiet: Quiet = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Train, measure and bundle the ensemble of the best trial so far, or of another."""
    with exit_codes():
        from orchestrator.pipeline import run_ensemble
        from orchestrator.runs.run import load_run

        sweep = load_run(run_dir, storage, {})
        console = open_terminal(sweep.paths.log, log_level, quiet=quiet)
        _print_result(sweep, run_ensemble(sweep, console, trial))


def _print_result(sweep: "Run", result: "Result") -> None:
    from orchestrator.evaluation.headline import headline

    if not result.is_new:
        typer.echo(f"Nothing to do: study {sweep.study_name!r} and its ensemble are finished.")
    typer.echo("\n".join(headline(result.metrics)))
    if sweep.paths.report.exists():
        typer.echo(f"Report: {sweep.paths.report}")
    typer.echo(f"Bundle: {sweep.paths.bundle}")
