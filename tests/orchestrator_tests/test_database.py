import fcntl
import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from orchestrator.database import embedded_postgres
from shared.errors import TagsweepError
from tests.postgres import (
    data_folder,
    execute,
    execute_patiently,
    keepers,
    servers,
    staying_visitor,
    visitor,
    wait_until,
)

ELSEWHERE = (
    '{"host": "another", "machine": "m", "boot": "b", "pid_namespace": "pid:[1]",'
    ' "since": "2026-01-01T00:00:00+00:00"}'
)
LINKS = Path("/tmp")  # noqa: S108
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as path:
        yield path


def _postmaster(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().split()[0])


def test_the_server_lives_as_long_as_the_block_and_keeps_its_data(folder: Path) -> None:
    with embedded_postgres(folder) as url:
        execute(url, "CREATE TABLE kept AS SELECT 1 AS one")
        assert servers(folder)
    assert not servers(folder) + keepers(folder)
    with embedded_postgres(folder) as url:
        assert execute(url, "SELECT one FROM kept") == [(1,)]


def test_the_server_stops_after_an_error_too(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt), embedded_postgres(folder):
        raise KeyboardInterrupt
    assert not servers(folder)


def test_what_is_raised_inside_comes_out_whatever_became_of_the_server(folder: Path) -> None:
    with pytest.raises(ValueError, match="the first error"), embedded_postgres(folder):
        (folder / "postgresql.conf").write_text("shared_buffers = nonsense\n")
        os.kill(_postmaster(folder), signal.SIGKILL)
        wait_until(lambda: not servers(folder))
        raise ValueError("the first error")
    assert not keepers(folder)


def test_the_server_is_not_on_the_network(folder: Path) -> None:
    with embedded_postgres(folder) as url:
        assert execute(url, "SHOW listen_addresses") == [("",)]
        assert execute(url, "SHOW server_encoding") == [("UTF8",)]


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
    before = set(LINKS.glob("tagsweep-*"))
    with embedded_postgres(folder.parent / name / "postgres") as url:
        assert execute(url, "SELECT 1") == [(1,)]
    assert set(LINKS.glob("tagsweep-*")) <= before


def test_the_socket_of_a_deep_folder_does_not_depend_on_tmpdir(folder: Path) -> None:
    deep = folder.parent / ("deep/" * 40) / "postgres"
    for name in ("ta", "tb"):
        (folder.parent / name).mkdir()
    first = staying_visitor(deep, env=os.environ | {"TMPDIR": str(folder.parent / "ta")})
    second = visitor(deep, 1, 0, env=os.environ | {"TMPDIR": str(folder.parent / "tb")})
    assert second.communicate(timeout=30) == ("in\n", "")
    first.kill()
    first.communicate()
    with embedded_postgres(deep):
        pass


def test_a_link_to_the_socket_that_another_made_is_refused(folder: Path) -> None:
    deep = (folder.parent / ("deep/" * 40) / "postgres").resolve()
    with embedded_postgres(deep) as url:
        trap = Path(url.split("host=")[1].replace("%2F", "/"))
    trap.symlink_to(folder)
    try:
        with pytest.raises(TagsweepError, match="another user's"), embedded_postgres(deep):
            pass
    finally:
        trap.unlink()
    assert not servers(deep)


def test_the_last_of_many_processes_stops_the_server(folder: Path) -> None:
    visitors = [visitor(folder, 4, 0.5) for _ in range(4)]
    assert [one.communicate(timeout=120)[1] for one in visitors] == [""] * 4
    assert [one.returncode for one in visitors] == [0] * 4
    assert not servers(folder) + keepers(folder)


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


@pytest.mark.parametrize("after_s", [0.2, 0.4, 0.6, 0.8])
def test_a_start_that_is_interrupted_leaves_no_server(folder: Path, after_s: float) -> None:
    interrupted = visitor(folder, 1, 1e6, start_new_session=True)
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


def test_a_killed_server_is_started_again_with_all_that_was_committed(folder: Path) -> None:
    with embedded_postgres(folder) as url:
        execute(url, "CREATE TABLE kept AS SELECT 1 AS one")
        for _ in range(2):
            os.kill(_postmaster(folder), signal.SIGKILL)
            wait_until(lambda: not (folder / "postmaster.pid").exists() or servers(folder) == [])
            assert execute_patiently(url, "SELECT one FROM kept") == [(1,)]


def test_a_killed_keeper_takes_its_server_with_it_and_is_replaced(folder: Path) -> None:
    with embedded_postgres(folder) as url:
        execute(url, "CREATE TABLE kept AS SELECT 1 AS one")
        (keeper,), before = keepers(folder), _postmaster(folder)
        keeper.kill()
        wait_until(lambda: before not in [one.pid for one in servers(folder)])
        assert execute_patiently(url, "SELECT one FROM kept") == [(1,)]
        assert len(keepers(folder)) == 1
    assert not servers(folder) + keepers(folder)


@needs_root
def test_a_server_that_a_full_disk_ended_is_started_again(folder: Path) -> None:
    folder.parent.joinpath("disk").mkdir()
    disk = folder.parent / "disk"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "none", disk], check=True)
    try:
        with embedded_postgres(disk / "postgres") as url:
            execute(url, "CREATE TABLE kept AS SELECT 1 AS one")
            with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while filler.write(bytes(2**16)):
                    pass
            with pytest.raises(OperationalError):
                for _ in range(9):
                    execute(url, "INSERT INTO kept SELECT 2; SELECT pg_switch_wal()")
            time.sleep(3)
            (disk / "filler").unlink()
            assert (1,) in execute_patiently(url, "SELECT one FROM kept")
    finally:
        subprocess.run(["umount", disk], check=True)


@needs_root
def test_who_looks_from_another_pid_namespace_uses_the_server_that_runs(folder: Path) -> None:
    apart = ("unshare", "--pid", "--ipc", "--fork", "--mount-proc")
    with embedded_postgres(folder) as url:
        execute(url, "CREATE TABLE kept AS SELECT 1 AS one")
        before = _postmaster(folder)
        assert visitor(folder, 2, 0, *apart).communicate(timeout=90) == ("in\nin\n", "")
        assert _postmaster(folder) == before
        execute(url, "INSERT INTO kept VALUES (2)")
    with embedded_postgres(folder) as url:
        assert execute(url, "SELECT count(*) FROM kept") == [(2,)]


@needs_root
def test_a_server_that_ends_with_its_pid_namespace_is_started_by_who_is_left(
    folder: Path,
) -> None:
    apart = ("unshare", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc")
    first = staying_visitor(folder, *apart)
    with embedded_postgres(folder) as url:
        first.kill()
        first.communicate()
        assert execute_patiently(url, "SELECT 1") == [(1,)]
        wait_until(lambda: len(keepers(folder)) == 1)
        assert execute_patiently(url, "SELECT 1") == [(1,)]


def test_who_cannot_reach_the_server_is_told_where_it_runs(folder: Path) -> None:
    began = time.monotonic()
    with (folder.parent / "postgres.keeper").open("w") as keeper:
        fcntl.flock(keeper, fcntl.LOCK_EX)
        print(ELSEWHERE, file=keeper, flush=True)
        with (
            pytest.raises(TagsweepError, match="runs on the machine another, .*Run the command th"),
            embedded_postgres(folder),
        ):
            pass
    assert not folder.exists()
    assert time.monotonic() - began < 10


def test_on_a_network_filesystem_no_lock_is_trusted_against_the_record_of_another_machine(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with embedded_postgres(folder):
        pass
    record = folder.with_name("postgres.keeper")
    record.write_text(ELSEWHERE)
    monkeypatch.setattr("orchestrator.database.is_on_network", lambda _folder: True)
    with pytest.raises(TagsweepError, match=f"another.*remove {record}"), embedded_postgres(folder):
        pass
    monkeypatch.undo()
    with embedded_postgres(folder):
        assert "another" not in record.read_text()
    assert record.read_text() == ""


@contextmanager
def _started_by_hand(folder: Path, *options: str) -> Iterator[None]:
    with embedded_postgres(folder):
        owner, program = folder.stat().st_uid, servers(folder)[0].exe()
    by_hand = subprocess.Popen(
        [program, "-D", folder, *options],
        cwd=folder,
        user=owner if os.geteuid() == 0 else None,
        stderr=subprocess.DEVNULL,
    )
    status = folder / "postmaster.pid"
    try:
        wait_until(lambda: status.exists() and "ready" in status.read_text())
        yield
        assert by_hand.poll() is None
    finally:
        by_hand.terminate()
        by_hand.wait(30)


def test_a_server_that_nobody_keeps_is_used_and_neither_doubled_nor_stopped(folder: Path) -> None:
    with _started_by_hand(folder), embedded_postgres(folder) as url:
        execute(url, "CREATE TABLE kept AS SELECT 1 AS one")
        assert not keepers(folder)


def test_no_server_is_started_beside_one_that_listens_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _started_by_hand(folder, "-p", "5433"):
        monkeypatch.setattr("orchestrator.database.START_TIMEOUT_S", 1)
        with pytest.raises(TagsweepError, match="in another process"), embedded_postgres(folder):
            pass


def test_a_forked_process_that_leaves_does_not_take_the_server_along(folder: Path) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from orchestrator.database import embedded_postgres\n"
        "with embedded_postgres(Path(sys.argv[1])) as url:\n"
        "    pid = os.fork()\n"
        "    if pid: os.waitpid(pid, 0); print(Path(sys.argv[1], 'postmaster.pid').exists())\n"
    )
    command = [sys.executable, "-c", script, folder]
    assert subprocess.check_output(command, text=True, timeout=60) == "True\n"
    assert not servers(folder)


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with embedded_postgres(folder):
        pass
    (folder / "postgresql.conf").write_text("shared_buffers = nonsense\n")
    with (
        pytest.raises(TagsweepError, match="does not work.*invalid value for parameter"),
        embedded_postgres(folder),
    ):
        pass
    assert not keepers(folder)
