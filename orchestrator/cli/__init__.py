"""Be the command line: read arguments, call the stages, print results; nothing else."""

import typer

from orchestrator.cli import bundle, cluster, sweep, watch

app = typer.Typer(
    name="tagsweep",
    help="Turn a CSV of texts with several yes/no labels into a tuned, ensembled classifier.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage or bad input, 3 stopped (run it again to go on).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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
