"""Embedded servers that tests start, look at and harm."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

PATIENCE_S = 60
VISIT = """
import random, sys, time
from pathlib import Path
from orchestrator.runs.database import embedded_postgres
print("here", flush=True)
for _ in range(int(sys.argv[2])):
    with embedded_postgres(Path(sys.argv[1])) as url:
        print("in", flush=True)
        time.sleep(float(sys.argv[3]) * random.random())
"""


@contextmanager
def data_folder() -> Iterator[Path]:
    """Yield a data folder with a path short enough for a socket; leave nothing behind."""
    parent = Path(tempfile.mkdtemp(prefix="pg-"))
    parent.chmod(0o711)  # as the server's user needs it where we are root
    try:
        yield parent / "postgres"
    finally:
        for process in keepers(parent / "postgres") + servers(parent / "postgres"):
            process.kill()
        shutil.rmtree(parent)


def servers(folder: Path) -> list[psutil.Process]:
    """Return PostgreSQL's processes on a data folder, those in other pid namespaces too."""
    return _those(lambda p: p.name() == "postgres" and p.cwd() == str(folder.resolve()))


def keepers(folder: Path) -> list[psutil.Process]:
    """Return the keeper of a data folder, if there is one."""
    return _those(lambda p: "postgres_keeper.py" in " ".join(p.cmdline()[:3]) and _of(p, folder))


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    """Execute one statement, and return its rows."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def execute_patiently(url: str, statement: str) -> list[tuple[object, ...]]:
    """Execute one statement as soon as the server is back."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return execute(url, statement)
        except OperationalError:
            assert time.monotonic() < deadline, "it has not come back"
            time.sleep(0.1)


def visitor(
    folder: Path, rounds: int, stay_s: float, *before: str, **options: Any
) -> subprocess.Popen[str]:
    """Start a process that uses the server; `before` are the words of a command to run it under."""
    command = [*before, sys.executable, "-c", VISIT, str(folder), str(rounds), str(stay_s)]
    return subprocess.Popen(command, stdout=-1, stderr=-1, text=True, **options)


def staying_visitor(folder: Path, *before: str, **options: Any) -> subprocess.Popen[str]:
    """Start a process that uses the server until it is killed, and wait until it is in."""
    process = visitor(folder, 1, 1e6, *before, **options)
    assert process.stdout
    assert [process.stdout.readline() for _ in range(2)] == ["here\n", "in\n"]
    return process


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait, but not for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not come so"
        time.sleep(0.05)


def _of(process: psutil.Process, folder: Path) -> bool:
    return str(folder.resolve()) in process.cmdline()


def _those(is_one: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if is_one(process):
                found.append(process)
        except psutil.Error:
            continue
    return found
