"""Take an embedded PostgreSQL away for a while; by itself it would be back at once."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg2
from sqlalchemy.engine import make_url

PATIENCE_S = 60


def postmaster(url: str) -> psutil.Process:
    """Return the server's first process, whose parent is its keeper."""
    text = (Path(_host(url)) / "postmaster.pid").read_text(encoding="utf-8")
    return psutil.Process(int(text.split()[0]))


@contextmanager
def outage(url: str) -> Iterator[None]:
    """Crash the server for as long as the block lasts, and wait until it is back."""
    with crashed(url):
        yield
    _wait_until_back(url)


@contextmanager
def crashed(url: str) -> Iterator[None]:
    """Crash the server, and keep its keeper from noticing while the block lasts."""
    server = postmaster(url)
    keeper = server.parent()
    assert keeper is not None
    keeper.suspend()
    try:
        server.send_signal(signal.SIGQUIT)
        while server.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        yield
    finally:
        keeper.resume()


def _wait_until_back(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            psycopg2.connect(host=_host(url), user="postgres").close()
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _host(url: str) -> str:
    return str(make_url(url).query["host"])
