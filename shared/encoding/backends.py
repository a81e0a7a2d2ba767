"""Choose what an encoder runs on: the fastest of what agrees with float32."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shared.config.sections import QUANTISED
from shared.encoding.encode import encode, is_transformer
from shared.encoding.encoder import Encoder
from shared.encoding.load import load_encoder
from shared.encoding.openvino_backend import has_openvino
from shared.errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

LOSSLESS_COSINE = 0.999
"""The least cosine to a text's float32 vector, for each text of the sample."""
SAMPLE = 64
"""Texts that backends are compared on, at most."""
SAMPLE_SHARE = 16
"""One text of so many is in the sample, so that measuring a backend costs little of the whole."""
PASSES, TIMED_S = 5, 1.0
"""The sample is encoded so often, unless so many seconds have passed before."""
WORTHWHILE_S = 60.0
"""Seconds of float32 below which auto looks no further: comparing takes some twenty itself."""
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""How Linux calls bfloat16 among what a CPU can, on x86 and on ARM."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Say which backend is used, and what was measured of it against float32 on `n_sampled` texts.

    `speedup` is a ratio of texts a second, `cosine_min` the least cosine; 1 where nothing was.
    """

    backend: str
    speedup: float = 1.0
    cosine_min: float = 1.0
    n_sampled: int = 0

    def __str__(self) -> str:
        """Say it in a line for people."""
        if self.n_sampled == 0:
            return self.backend
        return (
            f"{self.backend}: {self.speedup:.1f} times float32, cosine at least"
            f" {np.floor(self.cosine_min * 1e4) / 1e4:.4f} on {self.n_sampled} texts"
        )


def choose_backend(encoder: Encoder, texts: Sequence[str]) -> tuple[Choice, "SentenceTransformer"]:
    """Return what is to embed these texts, loaded: the backend that is named, or the fastest."""
    return choose_by_sample(encoder, sample_of(texts), len(texts))


def choose_by_sample(
    encoder: Encoder, sample: Sequence[str], n_texts: int
) -> tuple[Choice, "SentenceTransformer"]:
    """Return what is to embed `n_texts` texts that are like those of a sample, loaded.

    Those that agree with float32 share what vectors are known by (embeddings_key, the study, the
    bundle), so that each machine may choose its own and still take another's vectors. A quantised
    one has a name of its own there, and is used by all or by none: auto never chooses it.
    Raises InputError when a named one should agree and does not.
    """
    if encoder.backend in {"torch", *QUANTISED}:
        return Choice(encoder.backend), load_encoder(encoder)
    float32 = replace(encoder, backend="torch")
    model = load_encoder(float32)
    expected, float32_s = _encode_timed(model, float32, sample)

    def measure(backend: str) -> tuple[Choice, "SentenceTransformer"]:
        other = replace(encoder, backend=backend)
        candidate = load_encoder(other)
        vectors, taken_s = _encode_timed(candidate, other, sample)
        cosine_min = least_cosine(vectors, expected)
        return Choice(backend, float32_s / taken_s, cosine_min, len(sample)), candidate

    if encoder.backend != "auto":
        named, candidate = measure(encoder.backend)
        if not named.cosine_min >= LOSSLESS_COSINE:  # NaN neither
            raise InputError(
                f"encoder.backend {encoder.backend!r} must agree with float32, cosine at least"
                f" {LOSSLESS_COSINE}, but for {encoder.name!r} it is {named.cosine_min:.4f}: choose"
                " 'torch' or 'auto'."
            )
        return named, candidate
    if float32_s * n_texts < WORTHWHILE_S * len(sample):
        return Choice("torch"), model
    best = Choice("torch", n_sampled=len(sample)), model
    for backend in available(model):
        try:
            choice, candidate = measure(backend)
        except InputError as error:
            logger.info("Not measured: %s", error)
            continue
        logger.info("Measured %s", choice)
        if choice.cosine_min >= LOSSLESS_COSINE and choice.speedup > best[0].speedup:
            best = choice, candidate
    return best


def sample_of(texts: Sequence[str]) -> list[str]:
    """Return texts of all lengths, as often as they are, to compare backends on."""
    n_sampled = max(1, min(SAMPLE, len(texts) // SAMPLE_SHARE))
    by_length = sorted(texts, key=len)
    return by_length[:: len(texts) // n_sampled][:n_sampled]


def load_chosen(encoder: Encoder) -> tuple["SentenceTransformer", str | None]:
    """Load an encoder for a backend that another machine chose, or for torch where it cannot run.

    The second value says why it cannot run here. Raises InputError where it has to: vectors of a
    quantised backend, and of no backend but torch, are another's only where they agree.
    """
    try:
        if encoder.backend == "torch-bf16":
            _require_bfloat16()
        return load_encoder(encoder), None
    except InputError as error:
        if encoder.backend in {"torch", *QUANTISED}:
            raise
        return load_encoder(replace(encoder, backend="torch")), str(error)


def available(model: "SentenceTransformer") -> list[str]:
    """Return the backends that may be faster here than torch in float32, and are to agree with it.

    None is for a static encoder, which computes next to nothing.
    """
    import torch

    if not is_transformer(model):
        return []
    if model.device.type != "cpu":
        return ["torch-bf16"] if torch.cuda.is_available() else []
    names = ["torch-bf16"] if has_bfloat16() else []
    if has_openvino():
        names += ["openvino", "openvino-bf16"] if has_bfloat16() else ["openvino"]
    return names


def has_bfloat16() -> bool:
    """Return whether this CPU computes in bfloat16; one that does not imitates it slowly."""
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    return not flags.isdisjoint(BFLOAT16_FLAGS)


def _require_bfloat16() -> None:
    import torch

    if not torch.cuda.is_available() and not has_bfloat16():
        raise InputError("This machine does not compute in bfloat16.")


def least_cosine(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Return the least cosine between two (n, d) arrays, row by row."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1).astype(np.float64)
    return float((np.vecdot(a, b, dtype=np.float64) / norms).min())


def _encode_timed(
    model: "SentenceTransformer", encoder: Encoder, texts: Sequence[str]
) -> tuple[npt.NDArray[np.float32], float]:
    """Return the embeddings of texts, and the seconds that they take once all is warm.

    The fastest pass counts: others may use the machine, too.
    """
    encode(model, encoder, texts[-1:])
    taken_s: list[float] = []
    while len(taken_s) < PASSES and sum(taken_s) < TIMED_S:
        started_s = time.perf_counter()
        vectors = encode(model, encoder, texts)
        taken_s.append(time.perf_counter() - started_s)
    return vectors, min(taken_s)
