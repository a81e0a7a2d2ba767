import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.runs.database import embedded_postgres
from tests.postgres import (
    data_folder,
    execute,
    keepers,
    servers,
    staying_visitor,
    visitor,
    wait_until,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as path:
        yield path


def test_a_killed_process_does_not_keep_the_server_alive(folder: Path) -> None:
    killed = staying_visitor(folder)
    with embedded_postgres(folder):
        killed.kill()
        killed.communicate()
        assert servers(folder)
    assert not servers(folder)


def test_the_only_user_may_be_killed_and_leaves_no_server(folder: Path) -> None:
    killed = staying_visitor(folder)
    killed.kill()
    killed.communicate()
    wait_until(lambda: not servers(folder) + keepers(folder))


@pytest.mark.parametrize("after_s", [0.05, 0.2, 0.4, 0.6])
def test_a_start_that_is_interrupted_leaves_no_server(folder: Path, after_s: float) -> None:
    interrupted = visitor(folder, 1, 1e6, start_new_session=True)
    assert interrupted.stdout
    assert interrupted.stdout.readline() == "here\n", "an import would swallow the interrupt"
    time.sleep(after_s)
    os.killpg(interrupted.pid, signal.SIGINT)
    interrupted.communicate(timeout=30)
    wait_until(lambda: not servers(folder) + keepers(folder))
    with embedded_postgres(folder) as url:
        assert execute(url, "SELECT 1") == [(1,)]


def test_what_ends_a_terminals_processes_does_not_reach_the_server(folder: Path) -> None:
    with embedded_postgres(folder):
        sessions = {os.getsid(one.pid) for one in servers(folder) + keepers(folder)}
        assert os.getsid(0) not in sessions


def test_the_last_of_many_processes_stops_the_server(folder: Path) -> None:
    visitors = [visitor(folder, 4, 0.5) for _ in range(4)]
    assert [one.communicate(timeout=120)[1] for one in visitors] == [""] * 4
    assert [one.returncode for one in visitors] == [0] * 4
    assert not servers(folder) + keepers(folder)


def test_a_forked_process_that_leaves_does_not_take_the_server_along(folder: Path) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from orchestrator.runs.database import embedded_postgres\n"
        "with embedded_postgres(Path(sys.argv[1])) as url:\n"
        "    pid = os.fork()\n"
        "    if pid: os.waitpid(pid, 0); print(Path(sys.argv[1], 'postmaster.pid').exists())\n"
    )
    command = [sys.executable, "-c", script, folder]
    assert subprocess.check_output(command, text=True, timeout=60) == "True\n"
    assert not servers(folder)
