"""Keep of the training data what new data is compared with, and no text of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

MAX_VECTORS = 1000
"""Embeddings kept: what a comparison needs, in a megabyte or two."""


@dataclass(frozen=True)
class Reference:
    """Hold what is kept of n training rows of distinct texts.

    `vectors` is (r, d) float32, the embeddings of r rows drawn at random; `positives` is (L,)
    int64, the rows with each label; `text_hashes` is (t,) uint64: they tell training texts.
    """

    vectors: npt.NDArray[np.float32]
    positives: npt.NDArray[np.int64]
    n_rows: int
    text_hashes: npt.NDArray[np.uint64]


def take_reference(
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    text_hashes: npt.NDArray[np.uint64],
    seed: int,
) -> Reference:
    """Take the reference of some rows of (n, d) vectors and (n, L) labels."""
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice(rows, min(len(rows), MAX_VECTORS), replace=False))
    positives = labels[rows].sum(axis=0).astype(np.int64)
    vectors = np.asarray(vectors[drawn], dtype=np.float32)
    return Reference(vectors, positives, len(rows), np.unique(text_hashes))


def write_reference(path: Path, reference: Reference) -> None:
    """Write a reference as one .npz."""
    np.savez_compressed(
        path,
        vectors=reference.vectors,
        positives=reference.positives,
        n_rows=np.int64(reference.n_rows),
        text_hashes=reference.text_hashes,
    )


def read_reference(path: Path) -> Reference:
    """Read what write_reference wrote; nothing in the file is executed."""
    with np.load(path, allow_pickle=False) as found:
        return Reference(
            found["vectors"], found["positives"], int(found["n_rows"]), found["text_hashes"]
        )
