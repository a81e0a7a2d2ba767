"""Define the sweep's configuration: YAML in, validated immutable models out."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from shared.errors import InputError
from shared.sections import (
    DataConfig,
    DecisionsConfig,
    EncoderConfig,
    EnsembleConfig,
    Section,
    SpaceConfig,
    StudyConfig,
    TrainingConfig,
    WatchConfig,
    WorkersConfig,
)


class SweepConfig(Section):
    """Everything that defines a sweep, but for where it is kept.

    The run directory and the storage URL are options of the command line: they say where a sweep
    lives, not what it is, and a URL may hold a password.
    """

    data: DataConfig = DataConfig()
    """The labelled texts."""
    encoder: EncoderConfig = EncoderConfig()
    """The encoder."""
    space: SpaceConfig = SpaceConfig()
    """The search space."""
    study: StudyConfig = StudyConfig()
    """The study."""
    training: TrainingConfig = TrainingConfig()
    """The training of a head."""
    workers: WorkersConfig = WorkersConfig()
    """The workers."""
    ensemble: EnsembleConfig = EnsembleConfig()
    """The ensemble."""
    decisions: DecisionsConfig = DecisionsConfig()
    """The decisions."""
    watch: WatchConfig = WatchConfig()
    """Watching the sweep."""


def load_config(path: Path) -> SweepConfig:
    """Read a configuration; a relative `data.csv` is taken from the file's own folder.

    Raises InputError when the file cannot be read or any key or value is wrong.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise InputError(f"The configuration cannot be read: {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = " ".join(str(error).split())
        raise InputError(f"{path} must be YAML in UTF-8, but is not: {place}.") from error
    config = parse_config(values, str(path))
    if config.data.csv is None:
        return config
    return with_values(config, {"data": {"csv": (path.parent / config.data.csv).resolve()}})


def parse_config(values: Any, source: str) -> SweepConfig:
    """Validate plain values; raise InputError naming `source`, the key and what must hold."""
    try:
        return SweepConfig.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(_explain(item, source) for item in error.errors())) from error


def with_values(config: SweepConfig, values: dict[str, dict[str, Any]]) -> SweepConfig:
    """Return `config` with `{section: {key: value}}` laid over it, validated anew."""
    merged = config.model_dump()
    for section, entries in values.items():
        merged[section] |= entries
    return parse_config(merged, "the command line")


def dump_config(config: SweepConfig) -> str:
    """Write a configuration as the YAML that load_config reads."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _explain(error: Any, source: str) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "value_error":
        return f"{source}: {key}: {error['ctx']['error']}"
    if error["type"] != "extra_forbidden":
        return f"{source}: {key or 'the file'}: {error['msg']}, but got {error['input']!r}"
    *parents, unknown = error["loc"]
    section: Any = SweepConfig
    for parent in parents:
        section = section.model_fields[parent].annotation
    nearest = difflib.get_close_matches(str(unknown), section.model_fields, n=1, cutoff=0.0)
    return f"{source}: unknown key {key!r}; did you mean {nearest[0]!r}?"
