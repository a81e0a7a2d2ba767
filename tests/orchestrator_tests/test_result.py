import json
import logging
from pathlib import Path
from typing import Any

import optuna
import pytest

from orchestrator.report import page
from orchestrator.result import _report, ensemble_key, headline, is_bundled
from orchestrator.run import Run
from shared.config import SweepConfig, with_values
from shared.paths import RunPaths
from shared.search.attributes import FINGERPRINT

METRICS = {"test": {"ap_weighted": 0.75}, "logistic_regression": {"ap_weighted": 0.5}}


def test_the_headline_stands_beside_logistic_regression() -> None:
    assert "0.7500" in headline(METRICS)
    assert "(logistic regression: 0.5000)" in headline(METRICS)


def test_the_headline_of_classes_is_their_accuracy() -> None:
    measured = {name: one | {"accuracy": 0.25} for name, one in METRICS.items()}
    said = headline(measured)
    assert said == "Accuracy on the test split: 0.2500 (logistic regression: 0.2500)"


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
    metrics = json.dumps({"search": search, "decisions": decisions})
    run.paths.bundle.joinpath("metrics.json").write_text(metrics)
    other = Run(run.paths, with_values(run.config, changed))
    assert is_bundled(other, study) == is_kept
    assert (ensemble_key(other, study, study.trials) == key) == are_members_kept
