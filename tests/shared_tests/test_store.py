import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fsspec import get_filesystem_class
from fsspec.implementations.memory import MemoryFileSystem

from shared.errors import InputError
from shared.store import MissingError, Store, StoreError, TornError

LARGE = os.urandom(1 << 20) * 32
WRITE_OFTEN = """
import sys
from shared.store import Store
for _ in range(6):
    Store(sys.argv[1]).write("arrays/f.npz", sys.argv[2].encode() * (32 << 20))
"""


@pytest.fixture(params=["folder", "file://", "memory:/", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        return Store(f"{request.getfixturevalue('bucket')}/store/")
    prefix = "" if request.param == "folder" else request.param
    return Store(f"{prefix}{tmp_path}/store/")


def test_a_file_is_what_was_written_last(store: Store) -> None:
    assert store.size("folder/name") is None
    for content in (b"first", b"the second"):
        store.write("folder/name", content)
        assert store.size("folder/name") == len(content)
        assert store.read("folder/name") == content


def test_a_removed_file_is_gone_and_may_be_removed_again(store: Store) -> None:
    store.write("name", b"content")
    for _ in range(2):
        store.remove("name")
    with pytest.raises(MissingError, match="has no name"):
        store.read("name")


def test_a_file_comes_back_as_it_was_sent(store: Store, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"content")
    store.upload("folder/there", tmp_path / "here")
    assert store.download("folder/there", tmp_path / "new" / "back")
    assert (tmp_path / "new" / "back").read_bytes() == b"content"


def test_what_is_not_there_is_not_copied(store: Store, tmp_path: Path) -> None:
    assert not store.download("folder/missing", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_store_that_works_is_left_as_it_was(store: Store) -> None:
    store.require()
    store.write("name", b"content")
    store.require()
    assert store.read("name") == b"content"


@pytest.mark.parametrize("harm", [lambda c: c[:-500], lambda c: c[:9], lambda c: b"?" + c[1:]])
def test_sealed_content_that_is_torn_is_known_and_written_again(store: Store, harm) -> None:
    store.write_once("name", lambda: b"content" * 100)
    store.write("name", harm(store.read("name")))
    with pytest.raises(TornError, match="name in the store .* is torn"):
        store.read_sealed("name")
    store.write_once("name", lambda: b"content" * 100)
    assert store.read_sealed("name") == b"content" * 100
    store.write_once("name", lambda: pytest.fail("what is whole is not written again"))


@pytest.mark.parametrize("name", ["s3://no-such-bucket/store", "nosuch://folder", "/proc/store"])
def test_a_store_that_cannot_be_written_is_one_clear_error(name: str, bucket: str) -> None:
    assert bucket
    with pytest.raises(InputError, match=f"The store {name} cannot be used .* workers.store must"):
        Store(name).require()


def test_a_store_that_is_away_is_no_missing_file(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    get_filesystem_class("s3").clear_instance_cache()
    store = Store(f"{bucket}/store")
    for use in (store.read, store.read_sealed, store.size, store.remove):
        with pytest.raises(StoreError, match="cannot be used from here: Endpoint") as caught:
            use("name")
        assert not isinstance(caught.value, MissingError)
    get_filesystem_class("s3").clear_instance_cache()


@pytest.mark.parametrize(
    "name", ["a::b", "a::memory:", "with space", "ünïcode", "[*]?", "~", "%20"]
)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_local_path_is_a_local_path(tmp_path: Path, name: str, scheme: str) -> None:
    Store(f"{scheme}{tmp_path / name}/store").write("x", b"content")
    assert (tmp_path / name / "store" / "x").read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_stores_that_a_colon_tells_apart_are_two_in_an_object_store_too(bucket: str) -> None:
    one, two = Store(f"{bucket}/a::1"), Store(f"{bucket}/a::2")
    one.write("name", b"content")
    assert two.size("name") is None
    assert one.read("name") == Store(bucket).read("a::1/name") == b"content"


def test_a_store_shows_no_password() -> None:
    store = Store("sftp://me:s3c@ret@host/folder")
    assert str(store) == "sftp://me:***@host/folder"
    assert "s3c" not in repr(store)
    with pytest.raises(StoreError) as caught:
        store.read("name")
    assert "s3c" not in str(caught.value)


def test_two_processes_that_write_one_file_leave_no_reader_a_part_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE_OFTEN, tmp_path]
    writers = [subprocess.Popen([*command, digit]) for digit in "12"]
    sizes, store = set(), Store(str(tmp_path))
    while any(writer.poll() is None for writer in writers):
        sizes.add(store.size("arrays/f.npz"))
    assert [writer.wait() for writer in writers] == [0, 0]
    assert sizes <= {None, len(LARGE)}
    assert store.read("arrays/f.npz") in (b"1" * len(LARGE), b"2" * len(LARGE))
    assert [path.name for path in (tmp_path / "arrays").iterdir()] == ["f.npz"]


def test_where_files_grow_under_their_names_readers_see_them_when_they_are_whole(
    tmp_path: Path,
) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    store, sizes, is_done = Store(f"memory:/{tmp_path}/store"), set(), threading.Event()

    def look() -> None:
        while not is_done.is_set():
            sizes.add(store.size("large"))

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(5):
        store.upload("large", tmp_path / "large")
    is_done.set()
    looking.join()
    assert sizes <= {None, len(LARGE)}
    assert store.read("large") == LARGE
    assert [name for name in MemoryFileSystem.store if "unfinished" in name] == []
