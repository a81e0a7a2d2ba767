import fcntl
import os
import pwd
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from orchestrator.runs.database import embedded_postgres
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
        assert visitor(folder, 2, 0, *apart).communicate(timeout=90) == ("here\nin\nin\n", "")
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
    monkeypatch.setattr("orchestrator.runs.database.is_on_network", lambda _folder: True)
    with pytest.raises(TagsweepError, match=f"another.*remove {record}"), embedded_postgres(folder):
        pass
    monkeypatch.undo()
    with embedded_postgres(folder):
        assert "another" not in record.read_text()
    assert record.read_text() == ""


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
