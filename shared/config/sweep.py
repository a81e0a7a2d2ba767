"""Define the sweep's configuration: YAML in, validated immutable models out."""

import difflib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError, model_validator

from shared.config.sections import (
    DataConfig,
    DecisionsConfig,
    EncoderConfig,
    EnsembleConfig,
    StudyConfig,
    TrainingConfig,
    WatchConfig,
    WorkersConfig,
)
from shared.config.space import Section, SpaceConfig
from shared.errors import InputError


class SweepConfig(Section):
    """Everything that defines a sweep, but for where it is kept.

    The run directory and the storage URL are options of the command line: they say where a sweep
    lives, not what it is, and a URL may hold a password.
    """

    data: DataConfig = DataConfig()
    """The labelled texts."""
    encoder: EncoderConfig = EncoderConfig()
    """The encoder."""
    encoders: tuple[EncoderConfig, ...] = ()
    """The encoders to choose from, a name or settings each; what one does not say, `encoder` says.
    All embed the texts, once, and which one a head reads is a parameter. Empty: the one `encoder`.
    """
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

    @property
    def all_encoders(self) -> dict[str, EncoderConfig]:
        """The encoders that embed the texts, by what the study calls them."""
        return {one.full_name: one for one in self.encoders or (self.encoder,)}

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Let `encoder` say what an entry of `encoders` does not."""
        if not isinstance(values, Mapping) or not isinstance(values.get("encoders"), list | tuple):
            return values
        common = values.get("encoder")
        common = common if isinstance(common, Mapping) else {}
        entries = ({"name": one} if isinstance(one, str) else one for one in values["encoders"])
        completed = [{**common, **one} if isinstance(one, Mapping) else one for one in entries]
        return {**values, "encoders": completed}

    @model_validator(mode="after")
    def _check(self) -> "SweepConfig":
        if self.data.task == "multiclass" and self.decisions.threshold != "f1":
            raise ValueError(
                "decisions.threshold is for labels: of classes the most probable is the answer."
                " Leave it out"
            )
        if self.data.task == "multiclass" and self.decisions.calibration == "isotonic":
            raise ValueError(
                "decisions.calibration must be auto, none or temperature where there are classes:"
                " isotonic regression is for one label at a time"
            )
        in_float32 = (one.model_copy(update={"backend": "auto"}) for one in self.encoders)
        name, n = next(iter(Counter(one.full_name for one in in_float32).most_common(1)), ("", 0))
        if n > 1:
            raise ValueError(
                f"encoders must differ in name, max_seq_length or prompt, but {name!r} is there"
                f" {n} times"
            )
        if True in self.space.concatenate and len(self.encoders) < 2:  # noqa: PLR2004
            raise ValueError(
                "space.concatenate needs two encoders or more, but `encoders` has"
                f" {len(self.encoders)}"
            )
        return self


def load_config(path: Path) -> SweepConfig:
    """Read a configuration; relative files of `data.csv` are taken from its own folder.

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
    files = tuple((path.parent / file).resolve() for file in config.data.csv)
    return with_values(config, {"data": {"csv": files}}) if files else config


def parse_config(values: Any, source: str) -> SweepConfig:
    """Validate plain values; raise InputError naming `source`, the key and what must hold."""
    try:
        return SweepConfig.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(_explain(item, source) for item in error.errors())) from error


def with_values(config: SweepConfig, values: dict[str, dict[str, Any]]) -> SweepConfig:
    """Return `config` with `{section: {key: value}}` laid over it, validated anew.

    An encoder that is named so is the only one.
    """
    merged = config.model_dump()
    if "name" in values.get("encoder", {}):
        merged["encoders"] = ()
    for section, entries in values.items():
        merged[section] |= entries
    return parse_config(merged, "the command line")


def dump_config(config: SweepConfig) -> str:
    """Write a configuration as the YAML that load_config reads."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _explain(error: Any, source: str) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "value_error":
        return f"{source}: {key or 'the file'}: {error['ctx']['error']}"
    if error["type"] != "extra_forbidden":
        return f"{source}: {key or 'the file'}: {error['msg']}, but got {error['input']!r}"
    *parents, unknown = error["loc"]
    section: Any = SweepConfig
    for parent in parents:
        is_entry = isinstance(parent, int)
        section = get_args(section)[0] if is_entry else section.model_fields[parent].annotation
    nearest = difflib.get_close_matches(str(unknown), section.model_fields, n=1, cutoff=0.0)
    return f"{source}: unknown key {key!r}; did you mean {nearest[0]!r}?"
