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

from pydantic import ValidationError

from shared.card import model_card
from shared.data.encoder import Encoder
from shared.errors import InputError
from shared.files import replacing
from shared.reference import Reference, read_reference, write_reference
from shared.sections import EncoderConfig
from shared.space_section import Section
from shared.training.params import Task

if TYPE_CHECKING:
    import keras

SCHEMA = 5
"""The version of the layout that this module writes and reads."""
VERSIONS_OF = ("tagsweep", "keras", "tensorflow", "numpy", "sentence-transformers")


class BundledEncoder(Section):
    """Say what embeds texts for the model; `revision` is what the encoder's files were."""

    config: EncoderConfig
    revision: str


class Manifest(Section):
    """What manifest.json says; `files` maps every file but the card to its content's SHA-256.

    With a `class_column`, the labels are classes, one a text, and there are no thresholds.
    The model takes the vectors of all `encoders`, side by side in their order.
    """

    schema_version: int
    created: datetime
    versions: dict[str, str]
    label_names: tuple[str, ...]
    class_column: str | None
    thresholds: tuple[float, ...] | None
    encoders: tuple[BundledEncoder, ...]
    params: dict[str, Any]
    files: dict[str, str]

    @property
    def task(self) -> Task:
        """What is predicted."""
        return "multilabel" if self.class_column is None else "multiclass"


@dataclass(frozen=True)
class Layout:
    """Name the files of a bundle."""

    folder: Path

    @property
    def manifest(self) -> Path:
        """What the bundle consists of."""
        return self.folder / "manifest.json"

    @property
    def metrics(self) -> Path:
        """What was measured."""
        return self.folder / "metrics.json"

    @property
    def card(self) -> Path:
        """What the classifier is and how to use it, for people, who may add to it."""
        return self.folder / "README.md"

    @property
    def model(self) -> Path:
        """The fused ensemble: (n, D) float32 embeddings to (n, L) probabilities."""
        return self.folder / "ensemble.keras"

    @property
    def reference(self) -> Path:
        """What new data is compared with."""
        return self.folder / "reference.npz"


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
    label_names: Sequence[str],
    class_column: str | None,
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
            label_names=tuple(label_names),
            class_column=class_column,
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


def read_manifest(folder: Path) -> Manifest:
    """Read what a bundle consists of; raises InputError as read_bundle does."""
    values = _read_json(Layout(folder).manifest)
    schema = values.get("schema_version")
    if isinstance(schema, int) and schema != SCHEMA:
        what_to_do = (
            "Upgrade tagsweep."
            if schema > SCHEMA
            else "Remove it, and make it anew: tagsweep ensemble RUN."
        )
        raise InputError(
            f"The bundle {folder} has schema {schema}, but this tagsweep reads {SCHEMA}."
            f" {what_to_do}"
        )
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(
            f"The bundle {folder} is damaged: manifest.json, {key}: {first['msg']}."
        ) from error


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read what was measured of a bundle; raises InputError as read_bundle does."""
    return _read_json(Layout(folder).metrics)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path.parent} is not a bundle: it has no {path.name}.") from error
    except ValueError as error:
        raise InputError(
            f"The bundle {path.parent} is damaged: {path.name} is not JSON."
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"The bundle {path.parent} is damaged: {path.name} is no JSON object.")
    return values


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
