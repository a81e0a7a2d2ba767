"""Keep the result on disk: model, labels, encoder and figures, checked when they are read."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from orchestrator.bundle.card import model_card
from orchestrator.bundle.manifest import (
    SCHEMA,
    BundledEncoder,
    Layout,
    Manifest,
    read_manifest,
    read_metrics,
)
from orchestrator.bundle.reference import Reference, read_reference, write_reference
from shared.config.sections import EncoderConfig
from shared.encoding.encoder import Encoder
from shared.errors import InputError
from shared.files import replacing

if TYPE_CHECKING:
    import keras

VERSIONS_OF = ("tagsweep", "keras", "tensorflow", "numpy", "sentence-transformers")


@dataclass(frozen=True)
class Bundle:
    """Hold a bundle that was read: its model gives (n, L) probabilities of (n, D) embeddings."""

    manifest: Manifest
    metrics: dict[str, Any]
    model: "keras.Model"
    reference: Reference


def write_bundle(
    folder: Path,
    *,
    model: "keras.Model",
    text_column: str,
    label_names: Sequence[str],
    class_column: str | None,
    list_column: str | None = None,
    thresholds: Sequence[float] | None,
    encoders: Sequence[Encoder],
    params: dict[str, Any],
    metrics: dict[str, Any],
    reference: Reference,
) -> None:
    """Write a bundle under a temporary name, then put it in the place of an earlier one.

    A reader finds the old bundle, the new one or, for the moment between two renames, none.
    """
    with replacing(folder) as unfinished:
        layout = Layout(unfinished)
        model.save(layout.model)
        write_reference(layout.reference, reference)
        layout.metrics.write_text(json.dumps(metrics, indent=2), encoding="utf-8")
        manifest = Manifest(
            schema_version=SCHEMA,
            created=datetime.now(UTC),
            versions={name: version(name) for name in VERSIONS_OF},
            text_column=text_column,
            label_names=tuple(label_names),
            class_column=class_column,
            list_column=list_column,
            thresholds=None if thresholds is None else tuple(thresholds),
            encoders=tuple(map(_describe, encoders)),
            params=params,
            files={path.name: _hash(path) for path in sorted(unfinished.iterdir())},
        )
        layout.manifest.write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
        layout.card.write_text(model_card(manifest, metrics), encoding="utf-8")


def _describe(encoder: Encoder) -> BundledEncoder:
    config = EncoderConfig(
        name=encoder.name,
        max_seq_length=encoder.max_seq_length,
        prompt=encoder.prompt,
        backend=encoder.backend,
    )
    return BundledEncoder(config=config.identity, revision=encoder.revision)


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle whose every file but the card is as it was written.

    The model loads in Keras's safe mode: nothing in a bundle is executed. Raises InputError when
    the bundle is missing, damaged, or of another schema.
    """
    manifest = read_manifest(folder)
    layout = Layout(folder)
    for path in (layout.metrics, layout.model, layout.reference):
        if path.name not in manifest.files:
            raise InputError(f"The bundle {folder} is damaged: its manifest lacks {path.name}.")
    for name, expected in manifest.files.items():
        _require_unharmed(folder, name, expected)
    model, reference = _load(layout.model), _load_reference(layout.reference)
    return Bundle(manifest, read_metrics(folder), model, reference)


def _require_unharmed(folder: Path, name: str, expected: str) -> None:
    path = folder / name
    if Path(name).name != name:
        raise InputError(f"The bundle {folder} is damaged: its manifest names {name!r}.")
    if not path.is_file():
        raise InputError(f"The bundle {folder} is damaged: {name} is missing.")
    if _hash(path) != expected:
        raise InputError(f"The bundle {folder} is damaged: {name} is not as it was written.")


def _load(path: Path) -> "keras.Model":
    import keras

    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever it stumbles over in a file
        raise InputError(
            f"The bundle {path.parent} is damaged: {path.name} is no Keras model ({error})."
        ) from error


def _load_reference(path: Path) -> Reference:
    try:
        return read_reference(path)
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(
            f"The bundle {path.parent} is damaged: {path.name} is no reference ({error})."
        ) from error


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
