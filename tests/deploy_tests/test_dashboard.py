import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
from sqlalchemy.engine import make_url

PASSWORD = "sesame"  # noqa: S105  which that server does not ask for
TIMEOUT_S = 60


@pytest.fixture
def new_database(postgres_url: str) -> str:
    """Return the URL of a database without tables, as it is before a first sweep."""
    url = make_url(postgres_url)
    server = psycopg2.connect(host=url.query["host"], user=url.username, dbname="postgres")
    server.autocommit = True
    server.cursor().execute("CREATE DATABASE empty")
    server.close()
    return url.set(database="empty", password=PASSWORD).render_as_string(hide_password=False)


@pytest.fixture
def dashboard(
    checkout: Path, new_database: str, tmp_path: Path
) -> Iterator[tuple[psutil.Popen, str]]:
    (tmp_path / "storage_url").write_text(new_database)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = psutil.Popen(
        [sys.executable, checkout / "deploy/dashboard.py", address],
        env=os.environ
        | {"PYTHONPATH": str(checkout), "TAGSWEEP_STORAGE_FILE": str(tmp_path / "storage_url")},
        stderr=subprocess.DEVNULL,
    )
    yield process, f"http://{address}/api/studies"
    process.kill()
    process.wait()


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
    (listens,) = process.net_connections(kind="tcp")
    assert listens.laddr.ip == "127.0.0.1"
