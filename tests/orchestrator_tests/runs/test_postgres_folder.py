import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.runs.database import embedded_postgres
from shared.errors import TagsweepError
from tests.postgres import data_folder, execute, servers

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as path:
        yield path


@pytest.fixture
def made(folder: Path) -> Path:
    """Return a folder whose database has a table `kept` with one row."""
    with embedded_postgres(folder) as url:
        execute(url, "CREATE TABLE kept AS SELECT 1 AS one")
    return folder


def _rows(folder: Path) -> list[tuple[object, ...]]:
    with embedded_postgres(folder) as url:
        return execute(url, "SELECT one FROM kept")


def test_a_copy_serves_beside_the_folder_it_was_made_of(made: Path) -> None:
    copy = made.parent / "copy" / "postgres"
    copy.parent.mkdir()
    with embedded_postgres(made):
        subprocess.run(["cp", "-r", made, f"{made}.keeper", copy.parent], check=True)
        assert _rows(copy) == [(1,)]
        assert _rows(made) == [(1,)]


@needs_root
def test_a_copy_that_belongs_to_root_is_given_to_the_databases_user(made: Path) -> None:
    copy = made.parent / "copy" / "postgres"
    copy.parent.mkdir()
    subprocess.run(["cp", "-r", made, copy], check=True)
    assert copy.stat().st_uid == 0
    assert _rows(copy) == [(1,)]
    owner = pwd.getpwnam("pgserver").pw_uid
    assert {path.lstat().st_uid for path in (copy, *copy.rglob("*"))} == {owner}


@needs_root
def test_the_server_of_a_folder_that_belongs_to_anybody_runs_as_that_user(made: Path) -> None:
    subprocess.run(["chown", "-R", "54321:54321", made], check=True)
    with embedded_postgres(made) as url:
        assert execute(url, "SELECT one FROM kept") == [(1,)]
        assert {process.uids().effective for process in servers(made)} == {54321}
    assert {path.lstat().st_uid for path in made.rglob("*")} == {54321}


def test_modes_that_a_copy_has_lost_are_mended(made: Path) -> None:
    for path in made.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    made.chmod(0o755)
    assert _rows(made) == [(1,)]


@needs_root
@pytest.mark.parametrize("is_copied", [False, True])
def test_who_may_not_open_the_folder_is_told_how_to_own_it_and_never_to_remove_it(
    made: Path, is_copied: bool
) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    if is_copied:
        for path in (made.parent, *made.parent.glob("postgres.*")):
            os.chown(path, nobody, -1)
    os.seteuid(nobody)
    try:
        with pytest.raises(TagsweepError) as caught, embedded_postgres(made):
            pass
    finally:
        os.seteuid(0)
    assert f"sudo chown -R {nobody} {made.parent}" in str(caught.value)
    assert "emove" not in str(caught.value)


@needs_root
def test_a_disk_without_room_for_a_database_is_told(folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder.parent], check=True)
    try:
        with pytest.raises(TagsweepError, match="No space left"), embedded_postgres(folder):
            pass
    finally:
        subprocess.run(["umount", folder.parent], check=True)


@needs_root
def test_a_folder_that_cannot_be_written_is_told(made: Path) -> None:
    subprocess.run(["mount", "--bind", made.parent, made.parent], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", made.parent], check=True)
        with pytest.raises(TagsweepError, match="Read-only file system"), embedded_postgres(made):
            pass
    finally:
        subprocess.run(["umount", made.parent], check=True)


@pytest.mark.parametrize("name", ["postmaster.pid", ".s.PGSQL.5432.lock"])
def test_a_recycled_process_number_does_not_hinder_a_start(made: Path, name: str) -> None:
    with embedded_postgres(made):
        _, *lines = (made / name).read_text().splitlines(keepends=True)
    owner = made.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "60"], user=owner) as other:
        (made / name).write_text("".join([f"{other.pid}\n", *lines]))
        assert _rows(made) == [(1,)]
        other.kill()
