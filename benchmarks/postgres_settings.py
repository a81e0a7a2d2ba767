"""Measure what settings of PostgreSQL do to a packed sweep, each in turn with the defaults."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import optuna
import typer
from sqlalchemy import text

from benchmarks.coordination.measure import measure
from benchmarks.coordination.task import Task
from benchmarks.results import publish
from orchestrator.runs.database import embedded_postgres
from shared.study.tables.storage import opened_storage

VARIATIONS = ("synchronous_commit = off", "fsync = off", "shared_buffers = 512MB", "jit = off")
LOAD = (8, 64, 20, 0.0)
"""Workers, slots, steps, and seconds a step."""
KEYS = ("ms_per_trial", "reports_per_s", "ask_p99_ms")
STATISTICS = {
    "mb": "SELECT pg_database_size(current_database()) / 1e6",
    "blocks_read": "SELECT blks_read FROM pg_stat_database WHERE datname = current_database()",
    "share_of_hot_heartbeats": "SELECT n_tup_hot_upd / greatest(n_tup_upd, 1.0)"
    " FROM pg_stat_user_tables WHERE relname = 'trial_heartbeats'",
    "dead_rows": "SELECT sum(n_dead_tup) FROM pg_stat_user_tables",
    "rows": "SELECT sum(n_live_tup) FROM pg_stat_user_tables",
}


def main(
    finished: Annotated[int, typer.Option(help="Finished trials at the start.")] = 2000,
    trials: Annotated[int, typer.Option(help="Trials to finish.")] = 2048,
    rounds: Annotated[int, typer.Option(help="How often to measure each.")] = 3,
) -> None:
    """Run the coordination benchmark's tagsweep with one setting changed at a time."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found: dict[str, Any] = {"finished": finished, "trials": trials, "default": []}
    for _ in range(rounds):
        for setting in ("default", *VARIATIONS):
            result = _run(None if setting == "default" else setting, finished, trials)
            found.setdefault(setting, []).append(result)
    publish("postgres_settings", found)


def _run(setting: str | None, n_finished: int, n_trials: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="settings-") as folder:
        data = Path(folder) / "postgres"
        if setting is not None:
            with embedded_postgres(data):
                pass
            with (data / "postgresql.conf").open("a") as file:
                file.write(f"{setting}\n")
        with embedded_postgres(data) as url:
            task = Task(url, "study", n_finished + n_trials, *LOAD)
            measured = measure("tagsweep", task, n_finished, n_trials)
            with opened_storage(url) as storage, storage.engine.connect() as connection:
                statistics = {
                    name: round(float(connection.execute(text(query)).scalar_one()), 2)
                    for name, query in STATISTICS.items()
                }
    return {key: measured[key] for key in KEYS} | statistics


if __name__ == "__main__":
    typer.run(main)
