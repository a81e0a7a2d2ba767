"""Keep what trials are trained on in the study's store, for workers that no driver sends it to."""

import io
from typing import Any

import numpy as np

from shared.store import has_file, read_file, write_file
from workers.spec import SearchArrays

_ARRAYS = ("vectors", "labels", "train_rows", "valid_rows")


def write_arrays(store: str, fingerprint: str, arrays: SearchArrays) -> None:
    """Keep the arrays under the fingerprint of the data, once."""
    if has_file(store, _name(fingerprint)):
        return
    content = io.BytesIO()
    parts: dict[str, Any] = {name: np.asarray(getattr(arrays, name)) for name in _ARRAYS}
    np.savez(content, widths=np.array(arrays.widths, np.int64), **parts)
    write_file(store, _name(fingerprint), content.getvalue())


def read_arrays(store: str, fingerprint: str) -> SearchArrays:
    """Read the arrays; raise FileNotFoundError when the store does not have them."""
    content = read_file(store, _name(fingerprint))
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        widths = tuple(int(width) for width in arrays.get("widths", ()))
        return SearchArrays(**{name: arrays[name] for name in _ARRAYS}, widths=widths)


def _name(fingerprint: str) -> str:
    return f"arrays/{fingerprint}.npz"
