"""Keep files where all machines of a study find them: a folder, or an object store by its URL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from shared.errors import InputError


def write_file(store: str, name: str, content: bytes) -> None:
    """Write a file as a whole: whoever reads meanwhile finds the old one, or none."""
    with _finishing(store, name) as (files, path):
        files.pipe_file(path, content)


def has_file(store: str, name: str) -> bool:
    """Say whether a file is there; one whose name says what is in it need not be written again."""
    files, path = _locate(store, name)
    return bool(files.exists(path))


def read_file(store: str, name: str) -> bytes:
    """Read a file; raise FileNotFoundError when there is none."""
    files, path = _locate(store, name)
    content: bytes = files.cat_file(path)
    return content


def remove_file(store: str, name: str) -> None:
    """Remove a file, if there is one."""
    files, path = _locate(store, name)
    try:
        files.rm_file(path)
    except FileNotFoundError:
        return


def upload(store: str, name: str, path: Path) -> None:
    """Copy a file of this machine into the store, as a whole."""
    with _finishing(store, name) as (files, target):
        files.put_file(str(path), target)


def download(store: str, name: str, path: Path) -> bool:
    """Copy a file of the store to this machine, as a whole; return False when there is none."""
    files, source = _locate(store, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        files.get_file(source, str(unfinished))
    except FileNotFoundError:
        return False
    unfinished.replace(path)
    return True


def require_store(store: str) -> None:
    """Write a file and remove it; raise InputError when that does not work from here."""
    probe = f"probe-{os.getpid()}"
    try:
        write_file(store, probe, b"")
        remove_file(store, probe)
    except Exception as error:  # each kind of store raises its own library's
        raise InputError(
            f"The store {store} (workers.store) cannot be used from here:"
            f" {type(error).__name__}: {' '.join(str(error).split())}. It must be a folder or a URL"
            " that can be written; s3:// and gs:// need the extra s3 or gs and credentials."
        ) from error


@contextmanager
def _finishing(store: str, name: str) -> Iterator[tuple[Any, str]]:
    """Yield where to write: in an object store an object appears only when all of it is there."""
    files, path = _locate(store, name)
    if not isinstance(files, LocalFileSystem):
        yield files, path
        return
    files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    yield files, f"{path}.unfinished"
    files.mv(f"{path}.unfinished", path)


def _locate(store: str, name: str) -> tuple[Any, str]:
    # A listing that is kept would not show what other machines write meanwhile.
    files, root = url_to_fs(store, use_listings_cache=False)
    return files, f"{root.rstrip('/')}/{name}"
