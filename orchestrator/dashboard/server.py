"""Serve optuna-dashboard on the studies of a storage, to look at and not to change."""

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import typer
from rich.console import Console

from orchestrator.dashboard.read_only import serve_read_only
from orchestrator.listening import address_of, listen, require_loopback
from orchestrator.runs.run import Run, database_of
from orchestrator.terminal.console import LogLevel, open_terminal
from shared.errors import InputError
from shared.store import Store
from shared.study.patience import Patience
from shared.study.tables.storage import opened_storage

HOST, PORT = "127.0.0.1", 8080
PORTS_TRIED = 100
"""At how many ports, from PORT on, a dashboard beside a sweep looks for one that is free."""
NICENESS = 10
"""A page may wait, training should not (nice(2))."""


def serve(
    run: Run | None, storage_url: str | None, host: str, port: int, *, is_known_open: bool
) -> None:
    """Serve a run's study, or all of a server's, until a signal comes.

    Raises InputError for a port that is taken, and for an address that others reach, unless the
    user knows that it is open: optuna-dashboard asks nobody who they are.
    """
    why = "optuna-dashboard has no passwords and shows all studies and their files"
    require_loopback(host, why, is_known_open=is_known_open)
    if run is None and storage_url is None:
        raise InputError("Name a run directory, or a server (--storage).")
    # Its libraries warn of what is only to be expected, such as few trials.
    open_terminal(None if run is None else run.paths.log, LogLevel.ERROR, quiet=True)
    with (
        listen(host, port) as listener,
        nullcontext(str(storage_url)) if run is None else database_of(run) as url,
    ):
        typer.echo(f"optuna-dashboard is at {address_of(listener)}")
        with suppress(KeyboardInterrupt):
            _serve_studies(listener, url, {} if run is None else {run.study_name: run.store})


@contextmanager
def dashboard_beside(run: Run, url: str, console: Console) -> Iterator[None]:
    """Serve a run's study from a process of its own while the block lasts, if the run wants it."""
    if not run.has_dashboard:
        yield
        return
    context = multiprocessing.get_context("spawn")
    with _listen_at_a_free_port() as listener:
        stores = {run.study_name: run.store}
        arguments = (listener, url, stores, run.paths.log)
        process = context.Process(target=_serve_beside, args=arguments, daemon=True)
        process.start()
        console.print(f"optuna-dashboard is at {address_of(listener)}", soft_wrap=True)
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _serve_studies(listener: socket.socket, url: str, stores: Mapping[str, Store]) -> None:
    """Serve a storage's studies; `stores`, by study, are known to be elsewhere than these say."""
    from optuna_dashboard import wsgi

    from orchestrator.dashboard.artifacts import ArtifactsOfStudies
    from orchestrator.dashboard.storage import DashboardStorage

    with opened_storage(url) as storage:
        storage.patience = Patience(0)  # whoever looks is told at once
        artifacts = ArtifactsOfStudies(storage, stores)
        serve_read_only(wsgi(DashboardStorage(storage), artifact_store=artifacts), listener)


def _serve_beside(
    listener: socket.socket, url: str, stores: Mapping[str, Store], log: Path
) -> None:
    """Be the process beside a sweep, which ends it; should that have died, end by itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches both
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(NICENESS)
    open_terminal(log, LogLevel.ERROR, quiet=True)
    _serve_studies(listener, url, stores)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _listen_at_a_free_port() -> socket.socket:
    for port in range(PORT, PORT + PORTS_TRIED):
        try:
            return listen(HOST, port)
        except InputError:
            continue
    raise InputError(f"None of the ports {PORT} to {port} is free for --dashboard. Leave it out.")
