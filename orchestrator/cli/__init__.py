"""Be the command line: read arguments, call the stages, print results; nothing else."""

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from orchestrator.cli import bundle, cluster, sweep, watch

app = typer.Typer(
    name="tagsweep",
    epilog="Exit codes: 0 done, 1 failed, 2 usage or bad input, 3 stopped (run it again to go on).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if not is_asked:
        return
    try:
        found = version("tagsweep")
    except PackageNotFoundError:  # our packages have travelled without their name
        found = "(not installed)"
    typer.echo(f"tagsweep {found}")
    raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_print_version, is_eager=True, help="Print it and exit."
        ),
    ] = False,
) -> None:
    """Turn a CSV of texts with several yes/no labels into a tuned, ensembled classifier."""


for command in (
    sweep.run,
    sweep.resume,
    sweep.worker,
    sweep.prepare,
    sweep.search,
    sweep.ensemble,
    cluster.launch,
    cluster.logs,
    cluster.stop,
    watch.status,
    watch.dashboard,
    watch.report,
    watch.studies,
    watch.export,
    watch.delete,
    bundle.predict,
    bundle.evaluate,
    bundle.serve,
    bundle.export_onnx,
):
    app.command()(command)


def main() -> None:
    """Be the command `tagsweep`."""
    app()
