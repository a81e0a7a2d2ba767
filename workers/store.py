"""Keep files where all workers of a study find them: a folder, or an object store by its URL."""

import io
from typing import Any

import numpy as np
from fsspec.core import url_to_fs

from workers.spec import SearchArrays

_ARRAYS = ("vectors", "labels", "train_rows", "valid_rows")


def write_file(store: str, name: str, content: bytes) -> None:
    """Write a file as a whole: whoever reads meanwhile finds the old one, or none."""
    files, path = _locate(store, name)
    files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    unfinished = f"{path}.unfinished"
    files.pipe_file(unfinished, content)
    files.mv(unfinished, path)


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


def write_arrays(store: str, fingerprint: str, arrays: SearchArrays) -> None:
    """Keep what trials are trained on, under the fingerprint of the data, once."""
    files, path = _locate(store, _arrays_name(fingerprint))
    if files.exists(path):
        return
    content = io.BytesIO()
    parts: dict[str, Any] = {name: np.asarray(getattr(arrays, name)) for name in _ARRAYS}
    np.savez(content, **parts)
    write_file(store, _arrays_name(fingerprint), content.getvalue())


def read_arrays(store: str, fingerprint: str) -> SearchArrays:
    """Read what trials are trained on; raise FileNotFoundError when the store does not have it."""
    content = read_file(store, _arrays_name(fingerprint))
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return SearchArrays(**{name: arrays[name] for name in _ARRAYS})


def _arrays_name(fingerprint: str) -> str:
    return f"arrays/{fingerprint}.npz"


def _locate(store: str, name: str) -> tuple[Any, str]:
    files, root = url_to_fs(store)
    return files, f"{root.rstrip('/')}/{name}"
