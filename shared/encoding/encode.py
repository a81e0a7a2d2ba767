"""Encode texts: those of a length together, so that little is padded."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shared.encoding.encoder import Encoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

COUNT_BATCH = 1024
"""Texts tokenized at once when counting tokens."""
CPU_BATCH_TOKENS = 2048
"""Tokens a forward pass on a CPU: what the layers hand on then fits its caches."""
GPU_BATCH_TOKENS = 16384
"""Tokens a forward pass on a GPU, which has to be kept busy."""


def encode(
    model: "SentenceTransformer", encoder: Encoder, texts: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Return the (n, d) float32 embeddings of n texts."""
    return encode_counted(model, encoder, texts)[0]


def encode_counted(
    model: "SentenceTransformer", encoder: Encoder, texts: Sequence[str]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the (n, d) float32 embeddings of n texts, and their (n,) lengths in tokens."""
    n_tokens = count_tokens(model, encoder, texts)
    longest_first = np.argsort(-n_tokens, kind="stable")
    vectors = encode_sorted(
        model, encoder, [texts[i] for i in longest_first], n_tokens[longest_first]
    )
    return vectors[np.argsort(longest_first)], n_tokens


def encode_sorted(
    model: "SentenceTransformer",
    encoder: Encoder,
    texts: Sequence[str],
    n_tokens: npt.NDArray[np.int64],
) -> npt.NDArray[np.float32]:
    """Return the (n, d) float32 embeddings of n texts that come longest first.

    A batch holds as many texts as keep it, padded to its longest, within `batch_tokens`; in this
    order texts of a length share a batch, so little is padded.
    """
    on_cpu = model.device.type == "cpu"
    budget = encoder.batch_tokens or (CPU_BATCH_TOKENS if on_cpu else GPU_BATCH_TOKENS)
    n_read = np.minimum(n_tokens, length_limit(model) or n_tokens)
    batches, start = [], 0
    while start < len(texts):
        stop = start + max(1, budget // max(1, int(n_read[start])))
        batch = list(texts[start:stop])
        batches.append(
            model.encode(
                batch, batch_size=len(batch), prompt=encoder.prompt, show_progress_bar=False
            )
        )
        start = stop
    return np.concatenate(batches).astype(np.float32, copy=False)


def count_tokens(
    model: "SentenceTransformer", encoder: Encoder, texts: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Return the (n,) lengths of n texts in tokens, prompt and special ones included, none cut.

    A static encoder looks its tokens up and pads none; there it is the characters.
    """
    prompt = encoder.prompt or ""
    if not is_transformer(model):
        return np.array([len(prompt + text) for text in texts], np.int64)
    counts = np.empty(len(texts), np.int64)
    for start in range(0, len(texts), COUNT_BATCH):
        batch = [prompt + text for text in texts[start : start + COUNT_BATCH]]
        tokens = model.tokenizer(batch, truncation=False, padding=False, verbose=False)
        counts[start : start + len(batch)] = [len(ids) for ids in tokens["input_ids"]]
    return counts


def length_limit(model: "SentenceTransformer") -> int | None:
    """Return how many tokens of a text an encoder reads, or None when it reads them all."""
    limit = model.max_seq_length
    return None if limit is None or math.isinf(limit) else int(limit)


def is_transformer(model: "SentenceTransformer") -> bool:
    """Return whether a transformer computes the tokens' vectors; a static encoder has a table."""
    return hasattr(model[0], "auto_model")
