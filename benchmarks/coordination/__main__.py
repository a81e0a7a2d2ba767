"""Let contenders run simulated trials on one PostgreSQL, and print what each trial cost."""

import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import optuna
import typer

from benchmarks.coordination.contest import CONTENDERS
from benchmarks.coordination.measure import measure
from benchmarks.coordination.pgbouncer import pgbouncer
from benchmarks.coordination.task import Task
from benchmarks.results import publish
from orchestrator.runs import postgres_folder
from orchestrator.runs.database import embedded_postgres
from shared.study.tables.storage import MAX_CONNECTIONS

RESERVED = 10
"""Connections of the server's own, and of this process."""


def main(
    finished: Annotated[int, typer.Option(help="Finished trials at the start.")] = 2000,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 8,
    slots: Annotated[int, typer.Option(help="Trials at a time in a worker.")] = 64,
    steps: Annotated[int, typer.Option(help="Values that a trial reports.")] = 20,
    step_seconds: Annotated[float, typer.Option(help="How long a step pretends to train.")] = 0,
    join_seconds: Annotated[float, typer.Option(help="How long until all workers are there.")] = 0,
    trials: Annotated[int, typer.Option(help="Trials for tagsweep to finish.")] = 2048,
    optuna_trials: Annotated[int, typer.Option(help="Trials for each of the others.")] = 64,
    contenders: Annotated[str, typer.Option(metavar="A,B,C")] = ",".join(CONTENDERS),
    pooled: Annotated[int, typer.Option(help="Connections of a PgBouncer between; 0: none.")] = 0,
    name: Annotated[str, typer.Option(help="The file in results/.")] = "coordination",
) -> None:
    """Fill a study for each contender, and let its workers race for the trials of the budget."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found: dict[str, Any] = {
        "finished": finished,
        "workers": workers,
        "slots": slots,
        "steps": steps,
        "step_s": step_seconds,
        "join_s": join_seconds,
        "pooled": pooled,
    }
    postgres_folder.MAX_CONNECTIONS = pooled or MAX_CONNECTIONS * workers
    postgres_folder.MAX_CONNECTIONS += RESERVED
    with (
        tempfile.TemporaryDirectory(prefix="coordination-") as folder,
        embedded_postgres(Path(folder) / "postgres") as url,
        pgbouncer(url, Path(folder), pooled) if pooled else nullcontext(url) as workers_url,
    ):
        for contender in contenders.split(","):
            n_trials = trials if contender == "tagsweep" else optuna_trials
            budget = n_trials + (finished if contender == "tagsweep" else 0)
            load = (workers, slots, steps, step_seconds, join_seconds)
            task = Task(workers_url, contender, budget, *load)
            found[contender] = measure(contender, task, finished, n_trials)
    publish(name, found)
    if any(found[c]["lost"] or found[c]["doubled"] for c in contenders.split(",")):
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
