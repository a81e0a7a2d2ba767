import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.watchdog import GRACE_S, processes_of, watching

WRITE = "import sys, time; f = open(sys.argv[1], 'a'); print(flush=True); time.sleep(1000)"
READ = WRITE.replace("'a'", "'r'")
DRIVE = """
import pathlib, sys, time
from workers.watchdog import watching
with watching(pathlib.Path(sys.argv[1])):
    print(flush=True)
    time.sleep(1000)
"""


def _start(code: str, path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    return process


@pytest.fixture
def session(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path


@pytest.fixture
def writer(session: Path) -> Iterator[subprocess.Popen[bytes]]:
    with _start(WRITE, session / "logs" / "agent.out") as process:
        yield process
        process.kill()


def test_a_sessions_processes_are_those_that_write_its_logs(
    session: Path, writer: subprocess.Popen[bytes]
) -> None:
    with _start(READ, session / "logs" / "agent.out") as reader:
        assert processes_of(session) == [writer.pid]
        reader.kill()
    assert processes_of(session.parent) == []


def test_what_outlives_a_driver_that_was_killed_is_ended(
    session: Path, writer: subprocess.Popen[bytes]
) -> None:
    with _start(DRIVE, session) as driver:
        driver.kill()
    assert writer.wait(timeout=GRACE_S + 10) < 0


def test_where_nothing_is_left_nobody_waits(session: Path) -> None:
    started = time.monotonic()
    with watching(session):
        pass
    assert time.monotonic() - started < GRACE_S / 2
