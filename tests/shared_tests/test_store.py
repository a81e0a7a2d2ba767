from pathlib import Path

import pytest

from shared.errors import InputError
from shared.store import (
    download,
    has_file,
    read_file,
    remove_file,
    require_store,
    upload,
    write_file,
)


@pytest.fixture(params=["folder", "file://", "memory:/", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/store/"
    prefix = "" if request.param == "folder" else request.param
    return f"{prefix}{tmp_path}/store/"


def test_a_file_is_what_was_written_last(store: str) -> None:
    assert not has_file(store, "folder/name")
    for content in (b"first", b"second"):
        write_file(store, "folder/name", content)
        assert has_file(store, "folder/name")
        assert read_file(store, "folder/name") == content


def test_a_removed_file_is_gone_and_may_be_removed_again(store: str) -> None:
    write_file(store, "name", b"content")
    for _ in range(2):
        remove_file(store, "name")
    with pytest.raises(FileNotFoundError):
        read_file(store, "name")


def test_a_file_comes_back_as_it_was_sent(store: str, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"content")
    upload(store, "folder/there", tmp_path / "here")
    assert download(store, "folder/there", tmp_path / "new" / "back")
    assert (tmp_path / "new" / "back").read_bytes() == b"content"


def test_what_is_not_there_is_not_copied(store: str, tmp_path: Path) -> None:
    assert not download(store, "folder/missing", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_store_that_works_is_left_as_it_was(store: str) -> None:
    require_store(store)
    write_file(store, "name", b"content")
    require_store(store)
    assert read_file(store, "name") == b"content"


@pytest.mark.parametrize("name", ["s3://no-such-bucket/store", "nosuch://folder", "/proc/store"])
def test_a_store_that_cannot_be_written_is_one_clear_error(name: str, bucket: str) -> None:
    assert bucket
    with pytest.raises(InputError, match=f"The store {name} .workers.store. cannot be used"):
        require_store(name)
