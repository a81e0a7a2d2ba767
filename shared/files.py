"""Write files and folders whole: whoever reads finds the old one or the new one, never a part."""

import glob
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".unfinished"
LEFT_S = 86_400.0
"""After how long what a killed writer has left is removed by the next one of the same file."""


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a name to write a file under, which takes the place of `path` when the block ends.

    The name is this writer's alone, so of several writers the last one's file stays, as a whole.
    After an error nothing is left, and `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path)
    unfinished = path.with_name(temporary_name(path.name))
    try:
        yield unfinished
        _sync(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder, which takes the place of `folder` when the block ends.

    A reader finds the old one, the new one or, for the moment between two renames, none.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(folder)
    unfinished, replaced = (folder.with_name(temporary_name(folder.name)) for _ in range(2))
    unfinished.mkdir()
    try:
        yield unfinished
        for path in unfinished.rglob("*"):
            if path.is_file():
                _sync(path)
        if folder.exists():
            folder.rename(replaced)
        unfinished.rename(folder)
    finally:
        for left in (unfinished, replaced):
            shutil.rmtree(left, ignore_errors=True)


def temporary_name(name: str) -> str:
    """Return a name beside `name` that no other writer has, on this host or another."""
    writer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return f"{name}.{writer}{UNFINISHED}"


def _remove_left(path: Path) -> None:
    for left in path.parent.glob(f"{glob.escape(path.name)}.*{UNFINISHED}"):
        try:
            if time.time() - left.stat().st_mtime < LEFT_S:
                continue
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        except FileNotFoundError:  # its writer, or another one, was faster
            continue


def _sync(path: Path) -> None:
    """Have the content on the disk before its name: else a power cut leaves the name of nothing."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
