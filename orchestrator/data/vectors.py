"""Keep vectors in files that are known again: by their length, their hash, and what they say."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from shared.files import writing

CHUNK = 1024
"""Rows that are copied, or looked at, together."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Facts:
    """What is known of a finished file of vectors; written after it, so that it vouches for it."""

    encoder: str
    revision: str
    shape: tuple[int, int]
    n_truncated: int
    max_seq_length: int | None
    backend: str
    speedup: float
    cosine_min: float
    n_bytes: int
    sha256: str


class Content(NamedTuple):
    """The length and the SHA-256 of a file."""

    n_bytes: int
    sha256: str


def vectors_path(cache: Path, key: str) -> Path:
    """Return where vectors are kept."""
    return cache / f"{key}.npy"


def facts_path(cache: Path, key: str) -> Path:
    """Return where the facts of vectors are kept."""
    return cache / f"{key}.json"


def write_vectors(
    path: Path, distinct: npt.NDArray[np.float32], positions: Sequence[int]
) -> Content:
    """Write (m, d) vectors in the order of (n,) positions among them; say what was written."""
    shape = (len(positions), distinct.shape[1])
    with writing(path) as unfinished:
        vectors = open_memmap(unfinished, mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, len(positions), CHUNK):
            vectors[start : start + CHUNK] = distinct[positions[start : start + CHUNK]]
        vectors.flush()
        return content_of(unfinished)


def read_vectors(cache: Path, key: str) -> tuple[npt.NDArray[np.float32], Facts] | None:
    """Return vectors as a memory map, and their facts; None when there are none to be trusted."""
    path = vectors_path(cache, key)
    facts = read_facts(facts_path(cache, key))
    if facts is None:
        return None
    try:
        is_whole = content_of(path) == (facts.n_bytes, facts.sha256)
        vectors = np.load(path, mmap_mode="r", allow_pickle=False) if is_whole else None
    except (OSError, ValueError, EOFError) as error:
        logger.warning("The cached embeddings %s are damaged and made anew: %s", path, error)
        return None
    if vectors is None:
        logger.warning("The cached embeddings %s are torn and made anew", path)
        return None
    if vectors.shape != tuple(facts.shape) or vectors.dtype != np.float32:
        logger.warning("The cached embeddings %s have a wrong shape and are made anew", path)
        return None
    if not is_sound(vectors):
        logger.warning("The cached embeddings %s are not all vectors and are made anew", path)
        return None
    return vectors, facts


def write_facts(path: Path, facts: Facts) -> None:
    """Write the facts of vectors."""
    write_json(path, asdict(facts))


def read_facts(path: Path) -> Facts | None:
    """Read what `write_facts` wrote; None when there are none to be trusted."""
    return parse_facts(path.read_bytes(), str(path)) if path.exists() else None


def parse_facts(content: bytes, name: str) -> Facts | None:
    """Read facts that were kept under some name; None when they are damaged."""
    try:
        return Facts(**json.loads(content))
    except (ValueError, TypeError) as error:
        logger.warning("The facts %s of embeddings are damaged: %s", name, error)
        return None


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON."""
    with writing(path) as unfinished:
        unfinished.write_text(json.dumps(value), encoding="utf-8")


def content_of(path: Path) -> Content:
    """Read a file through for its length and hash."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Content(file.tell(), digest)


def unsound_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the rows of (n, d) vectors that point nowhere: not finite, or zero throughout."""
    longest = np.abs(vectors).max(axis=1)
    return np.flatnonzero(~((longest > 0) & (longest < np.inf)))  # NaN is neither


def is_sound(vectors: npt.NDArray[np.float32]) -> bool:
    """Say whether all rows of (n, d) vectors point somewhere."""
    chunks = (vectors[start : start + CHUNK] for start in range(0, len(vectors), CHUNK))
    return not any(len(unsound_rows(chunk)) for chunk in chunks)
