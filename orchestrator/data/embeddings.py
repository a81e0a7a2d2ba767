"""Embed texts once and keep the vectors under a hash of all that they depend on."""

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from orchestrator.data.vectors import (
    Facts,
    facts_path,
    is_sound,
    read_vectors,
    unsound_rows,
    vectors_path,
    write_facts,
    write_json,
    write_vectors,
)
from shared.config.sections import QUANTISED
from shared.encoding.chunks import Loaded, OpenEncoding, encoding_here
from shared.encoding.encode import encode
from shared.encoding.encoder import Encoder
from shared.errors import TagsweepError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

CHUNK = 1024
"""Distinct texts that are encoded together: what an interruption costs at most, of each encoder."""

Done = dict[tuple[int, int], int]
"""The chunks that are done, each from a text up to another, and how many of its texts were cut."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embeddings:
    """Hold the embeddings of n texts: `vectors` is (n, d) float32, a read-only memory map.

    `n_truncated` counts the distinct texts that exceed the encoder's `max_seq_length` tokens.
    """

    vectors: npt.NDArray[np.float32]
    key: str
    n_truncated: int
    max_seq_length: int | None


def embed(
    texts: Sequence[str],
    encoder: Encoder,
    cache: Path,
    on_progress: Callable[[int, int], None],
    open_encoding: OpenEncoding = encoding_here,
) -> Embeddings:
    """Embed texts, each distinct one once, or take them from the cache.

    `on_progress(done, total)` counts distinct texts. An interrupted call goes on with the chunks
    that it had not finished when it is made again, wherever each of the two encodes. One that
    another process makes at the same time is waited for. Raises TagsweepError when the encoder
    gives a text no vector that can be learned from.
    """
    key = embeddings_key(texts, encoder)
    cached = _read(cache, key)
    if cached is not None:
        return cached
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache):
        cached = _read(cache, key)
        return cached or _embed_anew(texts, encoder, cache, key, on_progress, open_encoding)


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Lock the folder against this machine's other processes; the lock goes with the process."""
    folder = os.open(cache, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("Another process embeds texts for %s: this one waits for it", cache)
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _embed_anew(
    texts: Sequence[str],
    encoder: Encoder,
    cache: Path,
    key: str,
    on_progress: Callable[[int, int], None],
    open_encoding: OpenEncoding,
) -> Embeddings:
    # Texts that share a chunk, and so its batches, are of a length; each encoder counts its tokens.
    distinct = sorted(sorted(set(texts)), key=len, reverse=True)
    partial, done, loaded = _embed_distinct(
        texts, distinct, encoder, cache, key, on_progress, open_encoding
    )
    position = {text: i for i, text in enumerate(distinct)}
    positions = [position[text] for text in texts]
    written = write_vectors(vectors_path(cache, key), partial, positions)
    facts = Facts(
        encoder=encoder.name,
        revision=encoder.revision,
        shape=(len(texts), loaded.n_dims),
        n_truncated=sum(done.values()),
        max_seq_length=loaded.max_seq_length,
        backend=loaded.choice.backend,
        speedup=loaded.choice.speedup,
        cosine_min=loaded.choice.cosine_min,
        n_bytes=written.n_bytes,
        sha256=written.sha256,
    )
    write_facts(facts_path(cache, key), facts)
    for path in _partial_files(cache, key):
        path.unlink()
    finished = _read(cache, key)
    if finished is None:
        raise OSError(f"{cache / key}.npy cannot be read back right after it was written")
    return finished


def encode_texts(
    texts: Sequence[str], encoder: Encoder, model: "SentenceTransformer"
) -> npt.NDArray[np.float32]:
    """Return the (n, d) float32 embeddings of texts, each distinct one encoded once; no cache."""
    position = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    vectors = encode(model, encoder, list(position))
    return vectors[[position[text] for text in texts]]


def embeddings_key(texts: Sequence[str], encoder: Encoder) -> str:
    """Return the hash of all that embeddings depend on: texts, encoder and settings.

    Backends that agree have one key, so that vectors are found wherever, and with whatever of
    these, they were made; a quantised one has its own.
    """
    settings = [encoder.revision, encoder.max_seq_length, encoder.prompt]
    if encoder.backend in QUANTISED:
        settings.append(encoder.backend)
    digest = hashlib.sha256(json.dumps(settings).encode())
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def _embed_distinct(
    texts: Sequence[str],
    distinct: Sequence[str],
    encoder: Encoder,
    cache: Path,
    key: str,
    on_progress: Callable[[int, int], None],
    open_encoding: OpenEncoding,
) -> tuple[npt.NDArray[np.float32], Done, Loaded]:
    """Fill the file of distinct vectors chunk by chunk, in whatever order they get done."""
    partial_path, done_path = _partial_files(cache, key)
    chunks = [(at, min(at + CHUNK, len(distinct))) for at in range(0, len(distinct), CHUNK)]
    done = _read_done(partial_path, done_path, len(distinct))
    if not done:
        done_path.unlink(missing_ok=True)
    # The last one again where all are there: what encodes has to be loaded to be described.
    left = [chunk for chunk in chunks if chunk not in done] or chunks[-1:]
    with open_encoding(encoder, [distinct[slice(*chunk)] for chunk in left]) as (loaded, encoded):
        logger.info("Embedding with %s", loaded.choice)
        shape = None if done else (len(distinct), loaded.n_dims)
        mode = "r+" if done else "w+"
        vectors = open_memmap(partial_path, mode=mode, dtype=np.float32, shape=shape)
        on_progress(_count(done), len(distinct))
        for number, result in encoded:
            chunk = left[number]
            _require_sound(result.vectors, distinct[slice(*chunk)], texts, encoder, loaded)
            vectors[slice(*chunk)] = result.vectors
            vectors.flush()
            done[chunk] = result.n_truncated
            write_json(done_path, [[*chunk, n_truncated] for chunk, n_truncated in done.items()])
            on_progress(_count(done), len(distinct))
    return vectors, done, loaded


def _count(done: Done) -> int:
    return sum(stop - start for start, stop in done)


def _read_done(partial_path: Path, done_path: Path, n_distinct: int) -> Done:
    """Return the chunks that an earlier call left; none when its files are not to be trusted."""
    try:
        rows = json.loads(done_path.read_text(encoding="utf-8"))
        done = {(start, stop): n_truncated for start, stop, n_truncated in rows}
        vectors = np.load(partial_path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, EOFError) as error:
        logger.warning("The unfinished embeddings %s are damaged: %s", partial_path, error)
        return {}
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != n_distinct:  # noqa: PLR2004
        return {}
    return {chunk: n for chunk, n in done.items() if is_sound(vectors[slice(*chunk)])}


def _read(cache: Path, key: str) -> Embeddings | None:
    """Return finished embeddings, or None when there are none that can be trusted."""
    found = read_vectors(cache, key)
    if found is None:
        return None
    vectors, facts = found
    return Embeddings(vectors, key, facts.n_truncated, facts.max_seq_length)


def _require_sound(
    vectors: npt.NDArray[np.float32],
    chunk: Sequence[str],
    texts: Sequence[str],
    encoder: Encoder,
    loaded: Loaded,
) -> None:
    """Refuse what cannot be learned from before it is kept, under a key that all machines share."""
    unsound = unsound_rows(vectors)
    if len(unsound):
        row = texts.index(chunk[unsound[0]]) + 1
        raise TagsweepError(
            f"The encoder {encoder.name!r} must give each text a vector of finite numbers that are"
            f" not all zero, but does not for the text of row {row} (the first is 1), computed with"
            f" {loaded.choice.backend}. Set its backend to 'torch' if it is another, mend or remove"
            " that row, or choose another encoder."
        )


def _partial_files(cache: Path, key: str) -> tuple[Path, Path]:
    return cache / f"{key}.partial.npy", cache / f"{key}.partial.json"
