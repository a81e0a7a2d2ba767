"""Find texts that an encoder cannot tell apart, or hardly: what is known of one is of the other.

On both sides of a split, they would have a measurement ask for what was learnt by heart. Lee et al.
2022, "Deduplicating Training Data Makes Language Models Better", section 5.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

ALIKE = 1 - 1e-5
"""The cosine from which on two vectors are one but for rounding, which batches do differently."""
NEIGHBOURS = 8
"""Nearest vectors that each is compared with: bounds memory where many are alike."""
MAX_DIMENSIONS = 16
"""Directions that neighbours are looked for in; vectors that are alike are so in any."""

Groups = npt.NDArray[np.int64]
"""(n,) the group of each row, numbered in the order of their first rows."""


def plain(text: str) -> str:
    """Return a text without what most encoders do not see: case, white space and Unicode form."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def hash_texts(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return the (n,) 64-bit hashes of plain texts."""
    digests = (hashlib.sha256(plain(text).encode()).digest() for text in texts)
    return np.array([int.from_bytes(digest[:8]) for digest in digests], dtype=np.uint64)


def group_texts(texts: Sequence[str], embeddings: Iterable[npt.NDArray[np.float32]] = ()) -> Groups:
    """Group rows whose plain texts are equal, or their vectors alike in any (n, d) array."""
    numbers: dict[str, int] = {}
    groups = np.array([numbers.setdefault(plain(text), len(numbers)) for text in texts])
    _, first = np.unique(groups, return_index=True)
    links = np.concatenate([np.empty((0, 2), np.int64), *(_alike(v[first]) for v in embeddings)])
    one, other = links.T
    graph = coo_array((np.ones(len(links)), (one, other)), shape=(len(first), len(first)))
    _, joined = connected_components(graph, directed=False)
    return _in_order(joined[groups])


def first_rows(groups: Groups, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return of some rows the first one of each group, ascending."""
    _, first = np.unique(groups[rows], return_index=True)
    return np.sort(rows[first])


def _in_order(groups: npt.NDArray[np.integer]) -> Groups:
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


def _alike(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return (p, 2) pairs of rows of (m, d) vectors that link all whose cosine is at least ALIKE.

    Vectors are looked for among their neighbours in a few directions, where they are no farther
    from each other than in all.
    """
    first: dict[bytes, int] = {}
    equal = [(first.setdefault(vector.tobytes(), row), row) for row, vector in enumerate(vectors)]
    rows = np.array(list(first.values()))
    unit = vectors[rows] / np.linalg.norm(vectors[rows], axis=1, keepdims=True)
    n_dimensions = unit.shape[1]
    directions = np.random.default_rng(0).normal(
        size=(n_dimensions, min(n_dimensions, MAX_DIMENSIONS))
    )
    seen = unit @ np.linalg.qr(directions).Q.astype(np.float32)
    nearest = range(1, min(len(rows), NEIGHBOURS + 1) + 1)
    farthest = np.sqrt(2 - 2 * ALIKE)
    _, found = KDTree(seen).query(seen, nearest, distance_upper_bound=farthest)
    one, place = np.nonzero(found < len(rows))  # where there is none, it is their number
    other = found[one, place]
    is_alike = np.einsum("ij,ij->i", unit[one], unit[other]) >= ALIKE
    return np.concatenate([equal, rows[np.column_stack([one, other])[is_alike]]])
