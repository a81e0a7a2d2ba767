"""Predict on new text with a bundle."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from shared.bundle import Bundle
from shared.data.backends import choose_backend
from shared.data.embeddings import encode_texts
from shared.data.encoder import resolve_encoder
from shared.errors import InputError

BATCH_ROWS = 8192
"""Rows a forward pass: bounds memory."""


@dataclass(frozen=True)
class Prediction:
    """Hold (n, L) float32 probabilities and (n, L) bool decisions, in the order of the texts."""

    probabilities: npt.NDArray[np.float32]
    decisions: npt.NDArray[np.bool_]


def predict(bundle: Bundle, texts: Sequence[str]) -> Prediction:
    """Embed texts as the bundle's were and average its members.

    Raises InputError when this machine has another version of the encoder.
    """
    manifest = bundle.manifest
    encoder = resolve_encoder(manifest.encoder, commit=manifest.encoder_revision)
    if encoder.revision != manifest.encoder_revision:
        raise InputError(
            f"The bundle needs encoder {encoder.name!r} at {manifest.encoder_revision[:12]}, but"
            f" {encoder.location} is at {encoder.revision[:12]}. Put the right one in its place."
        )
    _, model = choose_backend(encoder, texts)
    probabilities = predict_vectors(bundle.members, encode_texts(texts, encoder, model))
    return Prediction(probabilities, probabilities >= np.array(manifest.thresholds))


def predict_vectors(
    members: Sequence[keras.Model], vectors: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the members' mean probabilities, (n, L) float32, of (n, d) float32 embeddings."""
    parts = []
    for start in range(0, len(vectors), BATCH_ROWS):
        batch = vectors[start : start + BATCH_ROWS]
        outputs = [ops.convert_to_numpy(member(batch, training=False)) for member in members]
        parts.append(np.mean(outputs, axis=0))
    return np.concatenate(parts)


def write_csv(
    file: TextIO, texts: Sequence[str], label_names: Sequence[str], prediction: Prediction
) -> None:
    """Write a row a text, in their order: the text, each label's probability and decision (0 or 1).

    What a spreadsheet would take for a formula gets an apostrophe before it: texts come from
    anybody (OWASP, "CSV injection", https://owasp.org/www-community/attacks/CSV_Injection).
    """
    writer = csv.writer(file)
    names = [_inert(name) for name in label_names]
    columns = [column for name in names for column in (f"{name}_probability", name)]
    writer.writerow(["text", *columns])
    for text, probabilities, decisions in zip(
        texts, prediction.probabilities, prediction.decisions, strict=True
    ):
        pairs = zip(probabilities, decisions, strict=True)
        cells = [cell for p, decision in pairs for cell in (f"{p:.6f}", int(decision))]
        writer.writerow([_inert(text), *cells])


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
