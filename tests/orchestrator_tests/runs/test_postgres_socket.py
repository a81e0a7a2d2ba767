import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from orchestrator.runs.database import embedded_postgres
from shared.errors import TagsweepError
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


def _host(url: str) -> str:
    return str(make_url(url).query["host"])


@pytest.mark.parametrize("name", ['it\'s "quoted", 41% of it', "deep/" * 40 + "down"])
def test_any_folder_will_do(folder: Path, name: str) -> None:
    with embedded_postgres(folder.parent / name / "postgres") as url:
        assert execute(url, "SELECT 1") == [(1,)]
    assert not Path(_host(url)).is_symlink()


def test_the_socket_of_a_deep_folder_does_not_depend_on_tmpdir(folder: Path) -> None:
    deep = folder.parent / ("deep/" * 40) / "postgres"
    for name in ("ta", "tb"):
        (folder.parent / name).mkdir()
    first = staying_visitor(deep, env=os.environ | {"TMPDIR": str(folder.parent / "ta")})
    second = visitor(deep, 1, 0, env=os.environ | {"TMPDIR": str(folder.parent / "tb")})
    assert second.communicate(timeout=30) == ("here\nin\n", "")
    first.kill()
    first.communicate()
    with embedded_postgres(deep):
        pass


def test_a_link_to_the_socket_that_another_made_is_refused(folder: Path) -> None:
    deep = (folder.parent / ("deep/" * 40) / "postgres").resolve()
    with embedded_postgres(deep) as url:
        trap = Path(_host(url))
    trap.symlink_to(folder)
    try:
        with pytest.raises(TagsweepError, match="another user's"), embedded_postgres(deep):
            pass
    finally:
        trap.unlink()
    assert not servers(deep)


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
        monkeypatch.setattr("orchestrator.runs.database.START_TIMEOUT_S", 1)
        with pytest.raises(TagsweepError, match="in another process"), embedded_postgres(folder):
            pass
