"""Read arguments, call the stages, print results; nothing else."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator import cli_cluster
from orchestrator.options import (
    ConfigFile,
    Csv,
    EncoderName,
    LabelColumns,
    Level,
    NTrials,
    NWorkers,
    OptionalRunDir,
    Quiet,
    RayAddress,
    RunDir,
    Seed,
    ServerStorage,
    Storage,
    StudyName,
    TextColumn,
    Timeout,
    overrides,
)
from orchestrator.terminal import LogLevel, exit_codes, open_terminal

if TYPE_CHECKING:
    from orchestrator.pipeline import Result
    from orchestrator.run import Run

app = typer.Typer(
    name="tagsweep",
    help="Turn a CSV of texts with several yes/no labels into a tuned, ensembled classifier.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage or bad input, 3 stopped (run it again to go on).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (cli_cluster.launch, cli_cluster.logs, cli_cluster.stop):
    app.command()(command)


@app.command()
def run(
    config: ConfigFile = None,
    data: Csv = None,
    text_column: TextColumn = None,
    label_columns: LabelColumns = None,
    encoder: EncoderName = None,
    n_trials: NTrials = None,
    timeout: Timeout = None,
    n_workers: NWorkers = None,
    ray_address: RayAddress = None,
    run_dir: OptionalRunDir = None,
    storage: Storage = None,
    study_name: StudyName = None,
    seed: Seed = None,
    quiet: Quiet = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Run all stages: embed, split, search, ensemble. The same command again goes on."""
    options = overrides(locals())
    with exit_codes():
        from orchestrator.pipeline import run_all
        from orchestrator.run import define_run

        sweep = define_run(config, run_dir, storage, options, ray_address)
        _print_result(sweep, run_all(sweep, open_terminal(sweep.paths.log, log_level, quiet=quiet)))


@app.command()
def resume(
    run_dir: RunDir,
    n_trials: NTrials = None,
    timeout: Timeout = None,
    n_workers: NWorkers = None,
    ray_address: RayAddress = None,
    storage: Storage = None,
    quiet: Quiet = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Go on with a run where it stopped; more trials or time extend its budget."""
    options = overrides(locals())
    with exit_codes():
        from orchestrator.pipeline import run_all
        from orchestrator.run import load_run

        sweep = load_run(run_dir, storage, options, ray_address)
        _print_result(sweep, run_all(sweep, open_terminal(sweep.paths.log, log_level, quiet=quiet)))


@app.command()
def worker(
    study_name: Annotated[str, typer.Option("--study-name", help="The study to work on.")],
    storage: ServerStorage = "",
) -> None:
    """Attach this machine to a study as one more worker, without Ray."""
    with exit_codes():
        from orchestrator.terminal import quiet_keras

        quiet_keras()
        from orchestrator.attach import attach

        open_terminal(None, LogLevel.WARNING, quiet=True)
        if not attach(storage, study_name):
            raise KeyboardInterrupt
        typer.echo(f"The search of study {study_name!r} is over.")


@app.command()
def prepare(
    config: ConfigFile = None,
    data: Csv = None,
    text_column: TextColumn = None,
    label_columns: LabelColumns = None,
    encoder: EncoderName = None,
    run_dir: OptionalRunDir = None,
    seed: Seed = None,
    quiet: Quiet = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Embed the texts and split the rows, no more."""
    options = overrides(locals())
    with exit_codes():
        from orchestrator.pipeline import run_prepare
        from orchestrator.run import define_run

        sweep = define_run(config, run_dir, None, options)
        run_prepare(sweep, open_terminal(sweep.paths.log, log_level, quiet=quiet))
        typer.echo(f"Prepared {sweep.paths.root}. Go on with: tagsweep search {sweep.paths.root}")


@app.command()
def search(
    run_dir: RunDir,
    n_trials: NTrials = None,
    timeout: Timeout = None,
    n_workers: NWorkers = None,
    ray_address: RayAddress = None,
    storage: Storage = None,
    quiet: Quiet = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Search a prepared run until its budget is spent."""
    options = overrides(locals())
    with exit_codes():
        from orchestrator.pipeline import run_search
        from orchestrator.run import load_run

        sweep = load_run(run_dir, storage, options, ray_address)
        progress = run_search(sweep, open_terminal(sweep.paths.log, log_level, quiet=quiet))
        typer.echo(
            f"Study {sweep.study_name!r} has {progress.finished} finished trials,"
            f" {progress.pruned} of them pruned. Go on with: tagsweep ensemble {run_dir}"
        )


@app.command()
def ensemble(
    run_dir: RunDir,
    storage: Storage = None,
    quiet: Quiet = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Train, measure and bundle the ensemble of the best trial so far."""
    with exit_codes():
        from orchestrator.pipeline import run_ensemble
        from orchestrator.run import load_run

        sweep = load_run(run_dir, storage, {})
        _print_result(
            sweep, run_ensemble(sweep, open_terminal(sweep.paths.log, log_level, quiet=quiet))
        )


@app.command()
def status(
    run_dir: RunDir,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    storage: Storage = None,
) -> None:
    """Show how far a run is: trials by state, budget, best value, pace, workers, result.

    Of a launched run, without --storage, what its cluster knows: the job's state and progress.
    """
    with exit_codes():
        from orchestrator.run import load_run
        from orchestrator.status import describe_job, describe_status, read_status

        current = load_run(run_dir, storage, {})
        if storage is None and current.paths.job.exists():
            from orchestrator.launch import read_job, require_job

            job = read_job(require_job(current))
            typer.echo(json.dumps(asdict(job), indent=2) if as_json else describe_job(job))
            return
        found = read_status(current)
        typer.echo(json.dumps(asdict(found), indent=2) if as_json else describe_status(found))


@app.command()
def dashboard(
    run_dir: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Default: all studies of --storage.")
    ] = None,
    storage: Storage = None,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 to 65535.")] = 8080,
    i_know: Annotated[
        bool, typer.Option("--i-know", help="Listen where others reach it: it has no passwords.")
    ] = False,
) -> None:
    """Serve optuna-dashboard, beside a sweep or after it, until Ctrl-C."""
    with exit_codes():
        from orchestrator.dashboard import serve
        from orchestrator.run import load_run

        shown = None if run_dir is None else load_run(run_dir, storage, {})
        serve(shown, storage, host, port, is_known_open=i_know)


@app.command()
def studies(storage: ServerStorage = "") -> None:
    """List the studies on a server: trials finished, budget, best value."""
    with exit_codes():
        from orchestrator.housekeeping import describe_studies, list_studies

        typer.echo(describe_studies(list_studies(storage)))


@app.command()
def export(
    run_dir: RunDir,
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="Its name ends in .csv or .parquet.")
    ],
    storage: Storage = None,
) -> None:
    """Write all trials to a table: state, values, times, parameters, attributes."""
    with exit_codes():
        from orchestrator.housekeeping import export_trials
        from orchestrator.run import load_run

        n_trials = export_trials(load_run(run_dir, storage, {}), output)
        typer.echo(f"Wrote {n_trials} trials to {output}.")


@app.command()
def delete(
    run_dir: RunDir,
    storage: Storage = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a run: its study, with --storage on the server, and its directory."""
    with exit_codes():
        from orchestrator.housekeeping import delete_run, describe_loss
        from orchestrator.run import load_run

        doomed = load_run(run_dir, storage, {})
        if not yes and not typer.confirm(f"{describe_loss(doomed)} Delete?"):
            typer.echo("Nothing was deleted.")
            return
        delete_run(doomed)
        typer.echo(f"Deleted {run_dir}.")


@app.command()
def predict(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="The bundle's folder or URL.")],
    stdin: Annotated[
        str | None,
        typer.Argument(metavar="[-]", help="Read texts from standard input, one a line."),
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="One text.")] = None,
    csv: Annotated[Path | None, typer.Option("--input", metavar="CSV", help="Texts.")] = None,
    text_column: TextColumn = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="CSV", help="Default: standard output.")
    ] = None,
) -> None:
    """Give the probability and the decision of each label for new texts."""
    with exit_codes():
        from orchestrator.sharing import bundle_at
        from orchestrator.terminal import quiet_keras
        from shared.bundle import read_bundle, read_manifest

        texts = _read_texts(text=text, csv=csv, text_column=text_column, stdin=stdin)
        with bundle_at(bundle) as folder:
            read_manifest(folder)  # what is no bundle is refused before TensorFlow is imported
            quiet_keras()
            from orchestrator.predict import predict, write_csv

            loaded = read_bundle(folder)
        names = loaded.manifest.label_names
        prediction = predict(loaded, texts)
        if text is not None and output is None:
            rows = zip(names, prediction.probabilities[0], prediction.decisions[0], strict=True)
            for name, probability, decision in rows:
                typer.echo(f"{name:<20} {probability:.4f} {'yes' if decision else 'no'}")
        elif output is None:
            write_csv(sys.stdout, texts, names, prediction)
        else:
            with output.open("w", encoding="utf-8", newline="") as file:
                write_csv(file, texts, names, prediction)


def main() -> None:
    """Be the command `tagsweep`."""
    app()


def _print_result(sweep: "Run", result: "Result") -> None:
    from orchestrator.report import headline

    if not result.is_new:
        typer.echo(f"Nothing to do: study {sweep.study_name!r} and its ensemble are finished.")
    typer.echo(headline(result.metrics))
    typer.echo(f"Report: {sweep.paths.report}")
    typer.echo(f"Bundle: {sweep.paths.bundle}")


def _read_texts(
    *, text: str | None, csv: Path | None, text_column: str | None, stdin: str | None
) -> tuple[str, ...]:
    """Read the texts from the one source that was given."""
    from shared.data.dataset import load_texts
    from shared.errors import InputError

    if (text is not None) + (csv is not None) + (stdin == "-") != 1 or stdin not in {None, "-"}:
        raise InputError("Give the texts in one way: --text TEXT, --input CSV, or - for lines.")
    if csv is not None:
        return load_texts(csv, text_column or "text")
    texts = (text,) if text is not None else tuple(line.rstrip("\n") for line in sys.stdin)
    if not texts or not all(one.strip() for one in texts):
        raise InputError("There must be at least one text, and none may be empty.")
    return texts
