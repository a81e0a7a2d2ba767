"""Predict on new text with a bundle."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from keras import ops

from orchestrator.bundle.bundle import Bundle
from orchestrator.bundle.manifest import BundledEncoder
from orchestrator.data.embeddings import encode_texts
from orchestrator.decisions.decide import take
from shared.encoding.backends import choose_backend
from shared.encoding.encoder import Encoder, resolve_encoder
from shared.encoding.load import load_encoder
from shared.errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH_ROWS = 8192
"""Rows a forward pass: bounds memory."""
CHUNK = 512
"""Texts predicted at a time: a matter of seconds, and enough for those of a length to share a
batch."""


@dataclass(frozen=True)
class Predictor:
    """Hold a bundle with its encoders loaded: what predicts again and again."""

    bundle: Bundle
    encoders: tuple[Encoder, ...]
    text_models: tuple["SentenceTransformer", ...]


@dataclass(frozen=True)
class Prediction:
    """Hold (n, L) float32 probabilities and (n, L) bool decisions, in the order of the texts.

    Of classes, one a text is True.
    """

    probabilities: npt.NDArray[np.float32]
    decisions: npt.NDArray[np.bool_]


def load_predictor(bundle: Bundle, texts: Sequence[str] = ()) -> Predictor:
    """Load the encoders that a bundle's texts were embedded with.

    Where the texts to come are known, and many, each computes on the fastest backend that agrees.
    Raises InputError when this machine has another version of one.
    """
    encoders = tuple(_find(one) for one in bundle.manifest.encoders)
    models = (choose_backend(one, texts)[1] if texts else load_encoder(one) for one in encoders)
    return Predictor(bundle, encoders, tuple(models))


def _find(bundled: BundledEncoder) -> Encoder:
    encoder = resolve_encoder(bundled.config, commit=bundled.revision)
    if encoder.revision != bundled.revision:
        raise InputError(
            f"The bundle needs encoder {encoder.name!r} at {bundled.revision[:12]}, but"
            f" {encoder.location} is at {encoder.revision[:12]}. Put the right one in its place."
        )
    return encoder


def predict(predictor: Predictor, texts: Sequence[str]) -> Prediction:
    """Embed texts as the bundle's were, and give each label a probability and a decision."""
    return predict_embedded(predictor.bundle, embed_texts(predictor, texts))


def embed_texts(predictor: Predictor, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the (n, D) float32 embeddings of texts by the bundle's encoders, side by side."""
    pairs = zip(predictor.encoders, predictor.text_models, strict=True)
    return np.concatenate([encode_texts(texts, *pair) for pair in pairs], axis=1)


def predict_embedded(bundle: Bundle, vectors: npt.NDArray[np.float32]) -> Prediction:
    """Predict on (n, d) float32 embeddings."""
    probabilities = predict_vectors(bundle.model.predict_on_batch, vectors)
    return Prediction(probabilities, take(probabilities, bundle.manifest.thresholds))


def predict_vectors(
    forward: Callable[[npt.NDArray[np.float32]], Any], vectors: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the (n, L) float32 probabilities that a forward pass gives (n, d) embeddings.

    `forward` is a Keras model, or its `predict_on_batch`, which compiles it first; what compiles
    for a number of rows does it for powers of two alone. Sums that rounding took beyond 1 are 1.
    """
    starts = range(0, len(vectors), BATCH_ROWS)
    outputs = [_forward(forward, vectors[start : start + BATCH_ROWS]) for start in starts]
    return np.clip(np.concatenate(outputs), 0, 1)


def _forward(
    forward: Callable[[npt.NDArray[np.float32]], Any], vectors: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    n_rows = len(vectors)
    filled = np.zeros((1 << (n_rows - 1).bit_length(), vectors.shape[1]), np.float32)
    filled[:n_rows] = vectors
    found: npt.NDArray[np.float32] = ops.convert_to_numpy(forward(filled))[:n_rows]
    return found


def predict_in_chunks(
    predictor: Predictor, texts: Sequence[str], on_progress: Callable[[int, int], None]
) -> Iterator[Prediction]:
    """Yield what is predicted of some of the texts at a time, in their order: bounds memory.

    `on_progress(done, total)` counts texts.
    """
    on_progress(0, len(texts))
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        yield predict(predictor, chunk)
        on_progress(start + len(chunk), len(texts))
