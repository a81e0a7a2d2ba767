from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from orchestrator.runs.postgres_record import Record, is_on_network, read_record, write_record


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Return the record of a server that runs here."""
    with (tmp_path / "postgres.keeper").open("w") as file:
        write_record(file.fileno())
    found = read_record(tmp_path / "postgres.keeper")
    assert found is not None
    return found


def test_a_record_that_is_none_is_none(tmp_path: Path) -> None:
    assert read_record(tmp_path / "none") is None
    for content in ("", "{", '{"host": "a"}'):
        (tmp_path / "half").write_text(content)
        assert read_record(tmp_path / "half") is None


def test_a_container_and_another_boot_are_of_this_machine_but_another_machine_is_not(
    record: Record,
) -> None:
    record = replace(record, machine=record.machine or "m")
    assert record.is_of_this_machine
    assert replace(record, host="container", machine="", pid_namespace="pid:[1]").is_of_this_machine
    assert not replace(record, boot="b", machine="").is_of_this_machine
    assert not replace(record, boot="b", host="another").is_of_this_machine


def test_it_says_where_the_server_runs(record: Record) -> None:
    assert str(record).startswith(f"on the machine {record.host}, in pid:[")
    assert "in another container of this machine" in str(replace(record, pid_namespace="pid:[1]"))


@pytest.mark.parametrize(
    ("kind", "is_one"), [("ext4", False), ("nfs4", True), ("fuse.sshfs", True), ("tmpfs", False)]
)
def test_the_filesystem_that_the_folder_lies_on_decides_whether_locks_reach_all(
    monkeypatch: pytest.MonkeyPatch, kind: str, is_one: bool
) -> None:
    places = [("/", "ext4"), ("/runs", kind), ("/runs/a/b", "lustre")]
    mounts = [SimpleNamespace(mountpoint=place, fstype=fs) for place, fs in places]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    assert is_on_network(Path("/runs/a/postgres")) is is_one
    assert not is_on_network(Path("/home/a"))
