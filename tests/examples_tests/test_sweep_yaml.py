from pathlib import Path
from typing import Any

import yaml

from shared.config.sweep import SweepConfig, load_config, with_values


def _keys(values: Any, prefix: str = "") -> set[str]:
    if not isinstance(values, dict):
        return {prefix}
    return {key for name in values for key in _keys(values[name], f"{prefix}.{name}")}


def test_the_example_shows_every_setting_with_its_default(checkout: Path) -> None:
    path = checkout / "examples" / "sweep.yaml"
    reviews = {"data": {"csv": checkout / "examples" / "reviews.csv"}}
    assert load_config(path) == with_values(SweepConfig(), reviews)
    shown = _keys(yaml.safe_load(path.read_text()))
    assert shown == _keys(SweepConfig().model_dump(mode="json"))
