from pathlib import Path

import pytest

from shared.store import read_file, remove_file, write_file, write_once


@pytest.fixture(params=["", "file://", "memory:/"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}{tmp_path}/store/"


def test_a_file_is_what_was_written_last(store: str) -> None:
    for content in (b"first", b"second"):
        write_file(store, "folder/name", content)
    assert read_file(store, "folder/name") == b"second"


def test_what_is_there_is_not_written_again(store: str) -> None:
    for content in (b"first", b"second"):
        write_once(store, "folder/name", content)
    assert read_file(store, "folder/name") == b"first"


def test_a_removed_file_is_gone_and_may_be_removed_again(store: str) -> None:
    write_file(store, "name", b"content")
    for _ in range(2):
        remove_file(store, "name")
    with pytest.raises(FileNotFoundError):
        read_file(store, "name")
