"""Say what a bundle consists of, and where its files lie."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared.config.sections import EncoderConfig
from shared.config.space import Section
from shared.errors import InputError
from shared.training.params import Task

SCHEMA = 5
"""The version of the layout that these modules write and read."""


class BundledEncoder(Section):
    """Say what embeds texts for the model; `revision` is what the encoder's files were."""

    config: EncoderConfig
    revision: str


class Manifest(Section):
    """What manifest.json says; `files` maps every file but the card to its content's SHA-256.

    With a `class_column`, the labels are classes, one a text, and there are no thresholds; a
    `list_column` listed each text's labels.
    `text_column` is the header that the data's texts had, which new data's have too, if not told.
    The model takes the vectors of all `encoders`, side by side in their order.
    """

    schema_version: int
    created: datetime
    versions: dict[str, str]
    text_column: str
    label_names: tuple[str, ...]
    class_column: str | None
    list_column: str | None = None
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
        inner = path.parent / "bundle"
        hint = f" Did you mean {inner}?" if (inner / path.name).exists() else ""
        raise InputError(f"{path.parent} is not a bundle: it has no {path.name}.{hint}") from error
    except ValueError as error:
        raise InputError(
            f"The bundle {path.parent} is damaged: {path.name} is not JSON."
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"The bundle {path.parent} is damaged: {path.name} is no JSON object.")
    return values
