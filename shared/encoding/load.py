"""Load an encoder for the backend that is to compute it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.encoding.encode import is_transformer
from shared.encoding.encoder import Encoder
from shared.encoding.openvino_backend import compute_with_openvino
from shared.errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def load_encoder(encoder: Encoder) -> "SentenceTransformer":
    """Load an encoder for its backend, onto the GPU when there is one and torch computes.

    `auto` is torch in float32 here; choose_backend looks for a faster one. Raises InputError when
    `max_seq_length` is more than the encoder can take, or its backend cannot compute it.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    is_local = Path(encoder.location).is_dir()
    is_openvino = encoder.backend.startswith("openvino")
    model = SentenceTransformer(
        encoder.location,
        revision=None if is_local else encoder.revision,
        device="cpu" if is_openvino else None,
    )
    if encoder.max_seq_length is not None:
        _limit_length(model, encoder.name, encoder.max_seq_length)
    if is_openvino:
        compute_with_openvino(model, encoder)
    return model.bfloat16() if encoder.backend == "torch-bf16" else model


def _limit_length(model: "SentenceTransformer", name: str, max_seq_length: int) -> None:
    if not is_transformer(model):
        raise InputError(
            f"encoder.max_seq_length must be null for {name!r}, which reads texts of any length,"
            f" but is {max_seq_length}."
        )
    transformer: Any = model[0].auto_model
    limit = getattr(transformer.config, "max_position_embeddings", None)
    if limit is not None and max_seq_length > limit:
        raise InputError(
            f"encoder.max_seq_length must be at most {limit} for {name!r}, but is {max_seq_length}."
        )
    model.max_seq_length = max_seq_length
