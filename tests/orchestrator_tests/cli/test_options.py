from pathlib import Path

from orchestrator.cli.options import OPTIONS, overrides
from shared.config.sweep import SweepConfig


def test_options_are_laid_out_as_sections_and_absent_ones_stay_absent() -> None:
    given = {"n_trials": 5, "timeout": 60.0, "label_columns": "a, b", "seed": None}
    assert overrides(given) == {
        "study": {"n_trials": 5, "timeout_s": 60.0},
        "data": {"label_columns": ("a", "b")},
    }


def test_files_are_remembered_by_their_absolute_paths() -> None:
    paths = overrides({"data": [Path("some.csv"), Path("a/*.gz")]})["data"]["csv"]
    assert paths == (Path.cwd() / "some.csv", Path.cwd() / "a" / "*.gz")


def test_every_option_overrides_a_setting_that_exists() -> None:
    values = SweepConfig().model_dump()
    assert all(key in values[section] for section, key in OPTIONS.values())
