import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import psutil
import psycopg2
import pytest
from rich.console import Console
from sqlalchemy.engine import make_url

from orchestrator.dashboard.server import _listen_at_a_free_port, dashboard_beside, serve
from orchestrator.listening import address_of
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run
from shared.config.sweep import SweepConfig
from shared.errors import InputError
from tests.acceptance.commands import TAGSWEEP

PASSWORD = "sesame"  # noqa: S105  which that server does not ask for
TIMEOUT_S = 60


@pytest.fixture
def new_database(postgres_url: str) -> str:
    """Return the URL of a database without tables, as it is before a first sweep."""
    url = make_url(postgres_url)
    server = psycopg2.connect(host=url.query["host"], user=url.username, dbname="postgres")
    server.autocommit = True
    name = f"empty_{os.urandom(4).hex()}"
    server.cursor().execute(f"CREATE DATABASE {name}")
    server.close()
    return url.set(database=name, password=PASSWORD).render_as_string(hide_password=False)


@pytest.fixture
def dashboard(new_database: str, tmp_path: Path) -> Iterator[tuple[psutil.Popen, str]]:
    (tmp_path / "storage_url").write_text(new_database)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = psutil.Popen(
        [TAGSWEEP, "dashboard", "--port", str(port)],
        env=os.environ | {"TAGSWEEP_STORAGE_FILE": str(tmp_path / "storage_url")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield process, f"http://127.0.0.1:{port}/api/studies"
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 0


def _get(url: str) -> str:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(url) as response:  # noqa: S310  our own, on loopback
                return str(response.read().decode())
        except urllib.error.URLError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_it_serves_an_empty_database_and_shows_no_password(
    dashboard: tuple[psutil.Popen, str],
) -> None:
    process, url = dashboard
    assert _get(url) == '{"study_summaries": []}'
    assert PASSWORD not in " ".join(process.cmdline())
    connections = process.net_connections(kind="tcp")
    (listens,) = [one for one in connections if one.status == psutil.CONN_LISTEN]
    assert listens.laddr.ip == "127.0.0.1"


def test_it_changes_nothing(dashboard: tuple[psutil.Popen, str]) -> None:
    _, url = dashboard
    _get(url)
    request = urllib.request.Request(url, b'{"study_name": "x", "directions": ["minimize"]}')  # noqa: S310
    with pytest.raises(urllib.error.HTTPError, match="Method Not Allowed") as refused:
        urllib.request.urlopen(request)  # noqa: S310
    refused.value.close()
    assert _get(url) == '{"study_summaries": []}'


def test_a_port_that_is_taken_is_told(postgres_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"Nothing can be served at 127.0.0.1, port {port}"):
            serve(None, postgres_url, "127.0.0.1", port, is_known_open=False)


def test_beside_a_sweep_it_takes_the_next_free_port_and_ends_with_it(
    tmp_path: Path, postgres_url: str
) -> None:
    run = Run(RunPaths(tmp_path), SweepConfig(), postgres_url, has_dashboard=True)
    told = StringIO()
    with (
        _listen_at_a_free_port() as taken,
        dashboard_beside(run, postgres_url, Console(file=told)),
    ):
        address = told.getvalue().split()[-1]
        assert address > address_of(taken)
        assert "study_summaries" in _get(f"{address}/api/studies")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address)  # noqa: S310


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104
def test_an_address_that_others_reach_is_refused(host: str) -> None:
    with pytest.raises(InputError, match=f"but {host} may be reached by others"):
        serve(None, "postgresql://user@host/db", host, 8080, is_known_open=False)
