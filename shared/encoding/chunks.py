"""Encode chunks of texts: here in this process; on other machines it takes the same two steps."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shared.encoding.backends import Choice, choose_backend
from shared.encoding.encode import encode_counted, length_limit
from shared.encoding.encoder import Encoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Chunk = Sequence[str]


@dataclass(frozen=True)
class Loaded:
    """Say what encodes: the backend, the length of its vectors, and the most tokens it reads."""

    choice: Choice
    n_dims: int
    max_seq_length: int | None


@dataclass(frozen=True)
class Encoded:
    """Hold the embeddings of n texts, `vectors` (n, d) float32, and how many texts were cut."""

    vectors: npt.NDArray[np.float32]
    n_truncated: int


Encoding = tuple[Loaded, Iterator[tuple[int, Encoded]]]
"""What encodes, and chunks by their numbers, in whatever order they get done."""
OpenEncoding = Callable[[Encoder, Sequence[Chunk]], AbstractContextManager[Encoding]]
"""Start what encodes some chunks, and end it after the block."""


@contextmanager
def encoding_here(encoder: Encoder, chunks: Sequence[Chunk]) -> Iterator[Encoding]:
    """Encode chunks in this process, one after the other."""
    choice, model = choose_backend(encoder, list(chain.from_iterable(chunks)))
    encoded = ((i, encode_chunk(model, encoder, chunk)) for i, chunk in enumerate(chunks))
    yield describe(choice, model), encoded
    # What torch would keep of a GPU's memory, though nothing lies there, is for the workers' heads.
    del model, encoded
    import torch

    torch.cuda.empty_cache()


def describe(choice: Choice, model: "SentenceTransformer") -> Loaded:
    """Say what an encoder is like, now that it is loaded."""
    return Loaded(choice, int(model.get_embedding_dimension() or 0), length_limit(model))


def encode_chunk(model: "SentenceTransformer", encoder: Encoder, chunk: Chunk) -> Encoded:
    """Return the embeddings of a chunk's texts, and how many are longer than what is read."""
    vectors, n_tokens = encode_counted(model, encoder, chunk)
    limit = length_limit(model)
    return Encoded(vectors, 0 if limit is None else int((n_tokens > limit).sum()))
