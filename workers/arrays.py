"""Keep what trials are trained on in the study's store, for workers that no driver sends it to."""

import io
from typing import Any

import numpy as np

from shared.store import Store
from workers.spec import SearchArrays


def write_arrays(store: Store, fingerprint: str, arrays: SearchArrays) -> None:
    """Have the arrays in the store under the fingerprint of the data."""
    store.write_once(_name(fingerprint), lambda: _to_bytes(arrays))


def read_arrays(store: Store, fingerprint: str) -> SearchArrays:
    """Read the arrays; raise StoreError when the store does not have them, or they are torn."""
    content = store.read_sealed(_name(fingerprint))
    with np.load(io.BytesIO(content), allow_pickle=False) as parts:
        n_folds = sum(name.startswith("train_rows.") for name in parts)
        folds = [(parts[f"train_rows.{i}"], parts[f"valid_rows.{i}"]) for i in range(n_folds)]
        widths = tuple(parts["widths"].tolist())
        return SearchArrays(parts["vectors"], parts["labels"], tuple(folds), widths)


def _to_bytes(arrays: SearchArrays) -> bytes:
    content = io.BytesIO()
    parts: dict[str, Any] = {"vectors": arrays.vectors, "labels": arrays.labels}
    for i, (train_rows, valid_rows) in enumerate(arrays.folds):
        parts |= {f"train_rows.{i}": train_rows, f"valid_rows.{i}": valid_rows}
    parts = {name: np.asarray(part) for name, part in parts.items()}
    np.savez(content, widths=np.array(arrays.widths, np.int64), **parts)
    return content.getvalue()


def _name(fingerprint: str) -> str:
    return f"arrays/{fingerprint}.npz"
