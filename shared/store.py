"""Keep files where all machines of a study find them: a folder, or an object store by its URL."""

from typing import Any

from fsspec.core import url_to_fs


def write_file(store: str, name: str, content: bytes) -> None:
    """Write a file as a whole: whoever reads meanwhile finds the old one, or none."""
    files, path = _locate(store, name)
    files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    unfinished = f"{path}.unfinished"
    files.pipe_file(unfinished, content)
    files.mv(unfinished, path)


def write_once(store: str, name: str, content: bytes) -> None:
    """Write a file whose name says what is in it, unless it is there."""
    files, path = _locate(store, name)
    if not files.exists(path):
        write_file(store, name, content)


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


def _locate(store: str, name: str) -> tuple[Any, str]:
    files, root = url_to_fs(store)
    return files, f"{root.rstrip('/')}/{name}"
