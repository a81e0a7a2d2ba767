import json
import logging
from pathlib import Path
from typing import Any

import optuna
import pytest

from orchestrator.conclude import _report, describe_replaced, ensemble_key, is_bundled
from orchestrator.ensemble.candidates import choose
from orchestrator.report import page
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run
from shared.config.sweep import SweepConfig, with_values
from shared.study.attributes import FINGERPRINT


def test_a_report_that_cannot_be_written_does_not_lose_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(page, "write_report", fail)
    with caplog.at_level(logging.ERROR):
        _report(Run(RunPaths(tmp_path), SweepConfig()), optuna.create_study())
    assert "The report was not written; try `tagsweep report" in caplog.text


@pytest.mark.parametrize(
    ("changed", "is_kept", "are_members_kept"),
    [
        ({}, True, True),
        ({"decisions": {"threshold": "half"}}, False, True),
        ({"ensemble": {"n_folds": 7}}, False, False),
    ],
)
def test_other_decisions_are_another_bundle_of_the_same_members(
    tmp_path: Path, changed: dict[str, Any], is_kept: bool, are_members_kept: bool
) -> None:
    study = optuna.create_study()
    study.set_user_attr(FINGERPRINT, "f")
    study.tell(study.ask(), 0.5)
    run = Run(RunPaths(tmp_path), SweepConfig())
    key = ensemble_key(run, study, study.trials)
    search = {"key": key, "trial": 0, "complete": 1, "pruned": 0}
    decisions = {"asked": run.config.decisions.model_dump(mode="json")}
    run.paths.bundle.mkdir()
    metrics = json.dumps({"search": search, "decisions": decisions, "comparison": {}})
    run.paths.bundle.joinpath("metrics.json").write_text(metrics)
    other = Run(run.paths, with_values(run.config, changed))
    assert is_bundled(other, study) == is_kept
    assert (ensemble_key(other, study, study.trials) == key) == are_members_kept


def test_a_bundle_of_one_trial_is_told_of_before_anothers_takes_its_place(tmp_path: Path) -> None:
    run, study = Run(RunPaths(tmp_path), SweepConfig()), optuna.create_study()
    for value in (0.5, 0.4):
        study.tell(study.ask(), value)
    assert describe_replaced(run, study) == []
    run.paths.bundle.mkdir()
    run.paths.bundle.joinpath("metrics.json").write_text('{"search": {"trial": 1}}')
    assert describe_replaced(run, study) == []
    choose(study, 0)
    (line,) = describe_replaced(run, study)
    assert line.startswith("Bundle and report of trial 1 are replaced")


def test_a_bundle_without_a_comparison_is_made_anew(tmp_path: Path) -> None:
    run = Run(RunPaths(tmp_path), SweepConfig())
    run.paths.bundle.mkdir()
    run.paths.bundle.joinpath("metrics.json").write_text('{"search": {}, "decisions": {}}')
    study = optuna.create_study()
    study.tell(study.ask(), 0.5)
    assert not is_bundled(run, study)
