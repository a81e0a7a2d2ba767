import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from shared.config.space import Range, Section
from shared.config.sweep import SweepConfig, dump_config, load_config, parse_config, with_values
from shared.errors import InputError


def _fields(section: type[Section], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in section.model_fields.items():
        yield prefix + name, field
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _fields(field.annotation, f"{prefix}{name}.")


def test_every_field_has_a_docstring() -> None:
    undocumented = [name for name, field in _fields(SweepConfig) if not field.description]
    assert undocumented == []


def test_every_field_but_a_ranges_bounds_has_a_default() -> None:
    required = {name.split(".")[-1] for name, field in _fields(SweepConfig) if field.is_required()}
    assert required == {"low", "high"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stduy": {}}, "unknown key 'stduy'; did you mean 'study'?"),
        ({"study": {"ntrials": 3}}, "unknown key 'study.ntrials'; did you mean 'n_trials'?"),
        (
            {"space": {"dropout": {"low": 0, "high": 0.1, "hgih": 1}}},
            "unknown key 'space.dropout.hgih'; did you mean 'high'?",
        ),
        ({"data": {"class_column": "a", "label_columns": ["b"]}}, "data: .* exclude each other"),
        ({"study": {"n_trials": 0}}, "study.n_trials: .* greater than 0, but got 0"),
        ({"space": {"activation": ["tanh"]}}, "space.activation.0: .* but got 'tanh'"),
        ({"space": {"dropout": {"low": 0.5, "high": 0.1}}}, "low must not exceed high"),
        ({"space": {"dropout": {"low": 0, "high": 1}}}, r"dropout must lie in \[0, 1\)"),
        ({"space": {"learning_rate": {"low": 0, "high": 1, "log": True}}}, "must lie above 0"),
        ({"space": {"max_units": 10}}, "max_units must not be below min_units"),
        (
            {"data": {"class_column": "c"}, "decisions": {"threshold": "cost"}},
            "the file: decisions.threshold is for labels",
        ),
        (
            {"data": {"class_column": "c"}, "decisions": {"calibration": "isotonic"}},
            "decisions.calibration must be auto, none or temperature",
        ),
        ({"study": {"objective": "loss"}}, "study.objective.0: .* but got 'loss'"),
        ({"study": {"objective": []}}, "study.objective: .* at least 1 item"),
        (
            {"study": {"objective": ["n_parameters", "ap_macro"]}},
            "the first objective must be one of validation_loss, .* but is n_parameters",
        ),
        (
            {"study": {"objective": ["ap_macro", "ap_macro"]}},
            "'ap_macro' is named twice",
        ),
        ({"data": {"label_columns": ["a", "b", "a"]}}, "label_columns: 'a' is named twice"),
        ({"space": {"activation": ["relu", "relu"]}}, "space.activation: 'relu' is named twice"),
        (
            {"space": {"n_layers": [1, 2]}},
            "n_layers: must be a number or a range such",
        ),
        ({"space": {"n_layers": True}}, "space.n_layers: must be a number or a range"),
        ({"study": {"seed": 2**31}}, "study.seed: .* less than or equal to 2147483647"),
        ({"study": {"objective": "ap_macro", "target_value": 1.5}}, "target_value .* but is 1.5"),
        ({"study": {"target_value": -1}}, "one that validation_loss can have, but is -1"),
        ({"workers": {"gpus_per_worker": 1.5}}, "a share of one GPU or a whole number"),
        (
            {"study": {"objective": ["ap_macro", "n_parameters"], "target_value": 0.9}},
            "target_value needs a single objective",
        ),
        (
            {"workers": {"heartbeat_interval_s": 5, "heartbeat_grace_s": 9}},
            "heartbeat_grace_s must be at least twice heartbeat_interval_s, .* got 9 and 5",
        ),
        ({"study": {"n_folds": 1}}, "study.n_folds: .* greater than or equal to 2"),
        ({"study": {"n_repeats": 3}}, "study: n_repeats needs n_folds, but got n_repeats=3 alone"),
        ([1, 2], "the file: .* valid dictionary"),
        ({"encoders": [{"nmae": "a"}]}, "unknown key 'encoders.0.nmae'; did you mean 'name'?"),
        ({"encoders": ["a", 1]}, "encoders.1: .* but got 1"),
        (
            {"encoders": ["a", "b", {"name": "a", "backend": "openvino-int8"}]},
            "encoders must differ in name, max_seq_length or prompt, but 'a' is there 2 times",
        ),
        (
            {"encoders": ["a"], "space": {"concatenate": [True]}},
            "space.concatenate needs two encoders or more, but `encoders` has 1",
        ),
    ],
)
def test_a_wrong_value_is_named(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"sweep.yaml: .*{message}"):
        parse_config(values, "sweep.yaml")


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("space", {"learning_rate": {"low": 0.001, "high": None, "log": True}}),
        ("space", {"dropout": {"low": None, "high": 0.5}}),
        ("study", {"target_value": None}),
        ("study", {"timeout_s": None}),
        ("data", {"test_fraction": None}),
    ],
)
def test_a_number_must_be_finite(section: str, values: Any, number: float) -> None:
    filled = {
        key: {name: number if bound is None else bound for name, bound in value.items()}
        if isinstance(value, dict)
        else number
        for key, value in values.items()
    }
    with pytest.raises(InputError, match=f"{section}.* finite number, but got {number}"):
        parse_config({section: filled}, "x")


def test_a_number_in_place_of_a_range_fixes_it_and_a_value_is_a_list_of_one() -> None:
    config = parse_config({"space": {"n_layers": 2, "dropout": 0.3, "activation": "relu"}}, "x")
    assert config.space.n_layers == Range[int](low=2, high=2)
    assert config.space.dropout == Range[float](low=0.3, high=0.3)
    assert config.space.activation == ("relu",)
    assert parse_config(config.model_dump(mode="json"), "x") == config


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SweepConfig().study.n_trials = 3


def test_values_are_laid_over_and_validated() -> None:
    config = with_values(SweepConfig(), {"study": {"n_trials": 3}})
    assert (config.study.n_trials, config.study.seed) == (3, 42)
    with pytest.raises(InputError, match="the command line: study.n_trials"):
        with_values(SweepConfig(), {"study": {"n_trials": -1}})


def test_what_is_dumped_is_loaded_again(tmp_path: Path) -> None:
    values = {"data": {"csv": tmp_path / "a.csv"}, "study": {"timeout_s": 60}}
    config = with_values(SweepConfig(), values)
    path = tmp_path / "sweep.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config


@pytest.mark.parametrize(("csv", "n"), [("texts.csv", 1), ("[texts.csv, b/*.csv]", 2), ("", 0)])
def test_relative_files_are_taken_from_the_configurations_folder(
    tmp_path: Path, csv: str, n: int
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"data: {{csv: {csv}}}")
    config = load_config(path)
    assert config.data.csv == (tmp_path / "texts.csv", tmp_path / "b" / "*.csv")[:n]
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("")
    assert load_config(path) == SweepConfig()


@pytest.mark.parametrize("content", [b"study: [", b"\xff\xfe\x00"])
def test_a_file_that_is_not_yaml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match="sweep.yaml must be YAML in UTF-8"):
        load_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: .*none.yaml: No such file"):
        load_config(tmp_path / "none.yaml")


def test_a_scalar_number_in_scientific_notation_is_a_number() -> None:
    values = yaml.safe_load("training: {min_learning_rate: 1e-6}")
    assert parse_config(values, "x").training.min_learning_rate == 1e-6


def test_a_range_may_be_one_value() -> None:
    assert Range[float](low=0.1, high=0.1).low == 0.1


def test_what_one_of_the_encoders_does_not_say_comes_from_the_encoder() -> None:
    values = {
        "encoder": {"name": "a", "batch_tokens": 512},
        "encoders": ["b", {"max_seq_length": 64}, {"prompt": "query: ", "batch_tokens": 8}],
    }
    config = parse_config(values, "x")
    assert list(config.all_encoders) == ["b", "a (max_seq_length=64)", "a (prompt='query: ')"]
    assert [one.batch_tokens for one in config.encoders] == [512, 512, 8]
    assert parse_config(config.model_dump(mode="json"), "x") == config


def test_an_encoder_named_on_the_command_line_is_the_only_one() -> None:
    config = parse_config({"encoders": ["a", "b"]}, "x")
    assert list(with_values(config, {"encoder": {"name": "c"}}).all_encoders) == ["c"]
    assert list(with_values(config, {"study": {"n_trials": 3}}).all_encoders) == ["a", "b"]
