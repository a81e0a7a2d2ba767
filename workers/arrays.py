"""Keep what trials are trained on in the study's store, for workers that no driver sends it to."""

import io
from typing import Any

import numpy as np

from shared.store import has_file, read_file, write_file
from workers.spec import SearchArrays


def write_arrays(store: str, fingerprint: str, arrays: SearchArrays) -> None:
    """Keep the arrays under the fingerprint of the data, once."""
    if has_file(store, _name(fingerprint)):
        return
    content = io.BytesIO()
    parts: dict[str, Any] = {"vectors": arrays.vectors, "labels": arrays.labels}
    for i, (train_rows, valid_rows) in enumerate(arrays.folds):
        parts |= {f"train_rows.{i}": train_rows, f"valid_rows.{i}": valid_rows}
    parts = {name: np.asarray(part) for name, part in parts.items()}
    np.savez(content, widths=np.array(arrays.widths, np.int64), **parts)
    write_file(store, _name(fingerprint), content.getvalue())


def read_arrays(store: str, fingerprint: str) -> SearchArrays:
    """Read the arrays; raise FileNotFoundError when the store does not have them."""
    content = read_file(store, _name(fingerprint))
    with np.load(io.BytesIO(content), allow_pickle=False) as parts:
        n_folds = sum(name.startswith("train_rows.") for name in parts)
        folds = [(parts[f"train_rows.{i}"], parts[f"valid_rows.{i}"]) for i in range(n_folds)]
        widths = tuple(parts["widths"].tolist())
        return SearchArrays(parts["vectors"], parts["labels"], tuple(folds), widths)


def _name(fingerprint: str) -> str:
    return f"arrays/{fingerprint}.npz"
