import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.files import LEFT_S, replacing, temporary_name, writing


def test_a_file_is_what_was_written_under_the_other_name(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a::b, ünicode [*].json"
    for content in ("first", "second"):
        with writing(path) as unfinished:
            unfinished.write_text(content)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_file_as_it_was_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), writing(path) as unfinished:
        unfinished.write_text("a part")
        raise ZeroDivisionError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path, contents = tmp_path / "file", [str(i) * 100_000 for i in range(8)]

    def write(content: str) -> None:
        for _ in range(20):
            with writing(path) as unfinished:
                unfinished.write_text(content)
            assert path.read_text() in contents

    with ThreadPoolExecutor(len(contents)) as pool:
        list(pool.map(write, contents))
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_another_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    for name in ("one", "two"):
        with replacing(folder) as unfinished:
            (unfinished / name).write_text(name)
        assert [path.name for path in folder.iterdir()] == [name]
    with pytest.raises(ZeroDivisionError), replacing(folder) as unfinished:
        (unfinished / "three").write_text("a part")
        raise ZeroDivisionError
    assert [path.name for path in folder.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_killed_writer_left_is_removed_once_nobody_can_be_at_it(tmp_path: Path) -> None:
    path, young = tmp_path / "file", tmp_path / temporary_name("file")
    old, folder = (tmp_path / temporary_name("file") for _ in range(2))
    folder.mkdir()
    for left in (young, old, folder / "part"):
        left.write_text("a part")
    for left in (old, folder):
        os.utime(left, times=(0, time.time() - 2 * LEFT_S))
    with writing(path) as unfinished:
        unfinished.write_text("all of it")
    assert {one.name for one in tmp_path.iterdir()} == {"file", young.name}
