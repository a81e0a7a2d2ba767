"""Serve optuna-dashboard on the studies of a storage."""

from contextlib import nullcontext

import typer

from orchestrator.listening import require_loopback
from orchestrator.run import Run, database_of
from shared.errors import InputError
from shared.search.storage import opened_storage


def serve(
    run: Run | None, storage_url: str | None, host: str, port: int, *, is_known_open: bool
) -> None:
    """Serve a run's study, or all of a server's, until a signal comes.

    Raises InputError for an address that others reach, unless the user knows that it is open:
    optuna-dashboard asks nobody who they are, and can delete studies.
    """
    why = "optuna-dashboard has no passwords and can delete studies"
    require_loopback(host, why, is_known_open=is_known_open)
    if run is None and storage_url is None:
        raise InputError("Name a run directory, or a server (--storage).")
    from optuna_dashboard import run_server

    with (
        nullcontext(str(storage_url)) if run is None else database_of(run) as url,
        opened_storage(url) as storage,
    ):
        typer.echo(f"optuna-dashboard is at http://{host}:{port}")
        run_server(storage, host, port)
