import logging
from pathlib import Path

import optuna
import pytest

from orchestrator.report import page
from orchestrator.result import _report, headline
from orchestrator.run import Run
from shared.config import SweepConfig
from shared.paths import RunPaths

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
