import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text

from orchestrator.database import _socket_folder, embedded_postgres
from shared.errors import TagsweepError

VISIT = """
import random, sys, time
from pathlib import Path
from orchestrator.database import embedded_postgres
for _ in range(int(sys.argv[2])):
    with embedded_postgres(Path(sys.argv[1])) as url:
        print("in", flush=True)
        time.sleep(float(sys.argv[3]) * random.random())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a data folder with a path short enough for a socket."""
    parent = Path(tempfile.mkdtemp(prefix="pg-"))
    yield parent / "postgres"
    for process in _servers(parent / "postgres"):
        process.kill()
    shutil.rmtree(parent)


def _servers(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.name() == "postgres" and process.cwd() == str(folder.resolve()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _execute(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = create_engine(url)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        rows = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return rows


def _visitor(folder: Path, rounds: int, stay_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", VISIT, str(folder), str(rounds), str(stay_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_the_server_lives_as_long_as_the_block_and_keeps_its_data(folder: Path) -> None:
    with embedded_postgres(folder) as url:
        _execute(url, "CREATE TABLE kept AS SELECT 1 AS one")
        assert _servers(folder)
    assert not _servers(folder)
    with embedded_postgres(folder) as url:
        assert _execute(url, "SELECT one FROM kept") == [(1,)]


def test_the_server_stops_after_an_error_too(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt), embedded_postgres(folder):
        raise KeyboardInterrupt
    assert not _servers(folder)


def test_the_server_is_not_on_the_network(folder: Path) -> None:
    with embedded_postgres(folder) as url:
        assert _execute(url, "SHOW listen_addresses") == [("",)]
        assert _execute(url, "SHOW server_encoding") == [("UTF8",)]


def test_no_other_user_can_reach_the_server(folder: Path) -> None:
    with embedded_postgres(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert (folder / ".s.PGSQL.5432").is_socket()
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody").pw_uid
            listing = subprocess.run(["ls", folder], user=nobody, capture_output=True, check=False)
            assert listing.returncode != 0


@pytest.mark.parametrize("name", ['it\'s "quoted", 41% of it', "deep/" * 40 + "down"])
def test_any_folder_will_do(folder: Path, name: str) -> None:
    with embedded_postgres(folder.parent / name / "postgres") as url:
        assert _execute(url, "SELECT 1") == [(1,)]


def test_a_socket_folder_that_another_made_is_refused(folder: Path) -> None:
    deep = (folder.parent / ("deep/" * 40) / "postgres").resolve()
    trap = _socket_folder(deep)
    folder.mkdir(mode=0o755)
    trap.symlink_to(folder)
    before = folder.stat()
    try:
        with pytest.raises(TagsweepError, match="must belong to"), embedded_postgres(deep):
            pass
    finally:
        trap.unlink()
    assert (folder.stat().st_uid, folder.stat().st_mode) == (before.st_uid, before.st_mode)


def test_the_last_of_many_processes_stops_the_server(folder: Path) -> None:
    visitors = [_visitor(folder, rounds=4, stay_s=0.5) for _ in range(4)]
    assert [visitor.wait(timeout=120) for visitor in visitors] == [0] * 4
    for visitor in visitors:
        visitor.communicate()
    assert not _servers(folder)


def test_a_killed_process_does_not_keep_the_server_alive(folder: Path) -> None:
    visitor = _visitor(folder, rounds=1, stay_s=1e6)
    assert visitor.stdout
    assert visitor.stdout.readline() == "in\n"
    with embedded_postgres(folder):
        visitor.kill()
        visitor.communicate()
        assert _servers(folder)
    assert not _servers(folder)


def test_ctrl_c_on_the_terminal_does_not_reach_the_server(folder: Path) -> None:
    with embedded_postgres(folder):
        groups = {os.getpgid(process.pid) for process in _servers(folder)}
        assert os.getpgrp() not in groups


def test_committed_rows_survive_a_killed_server(folder: Path) -> None:
    with pytest.raises(TagsweepError, match="does not work"), embedded_postgres(folder) as url:
        _execute(url, "CREATE TABLE kept AS SELECT 1 AS one")
        for process in _servers(folder):
            process.send_signal(signal.SIGKILL)
        while _servers(folder):
            time.sleep(0.05)
    with embedded_postgres(folder) as url:
        assert _execute(url, "SELECT one FROM kept") == [(1,)]


def test_a_recycled_process_number_does_not_hinder_a_start(folder: Path) -> None:
    with embedded_postgres(folder):
        stale = (folder / "postmaster.pid").read_text()
    lines = stale.splitlines(keepends=True)
    (folder / "postmaster.pid").write_text("".join([f"{os.getpid()}\n", *lines[1:]]))
    with embedded_postgres(folder) as url:
        assert _execute(url, "SELECT 1") == [(1,)]


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with embedded_postgres(folder):
        pass
    (folder / "postgresql.conf").write_text("shared_buffers = nonsense\n")
    with (
        pytest.raises(TagsweepError, match="does not work.*invalid value for parameter"),
        embedded_postgres(folder),
    ):
        pass
