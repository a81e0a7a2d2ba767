from pathlib import Path
from typing import Any

from orchestrator.report import headline, write_report
from orchestrator.run import Run
from shared.config import SweepConfig
from shared.paths import RunPaths


def _measured(value: float) -> dict[str, Any]:
    averages = {f"ap_{name}": value for name in ("weighted", "macro", "micro")}
    return averages | {"per_label": {"joy": value, "fear": None}}


METRICS: dict[str, Any] = {
    "test": _measured(0.75),
    "out_of_fold": _measured(0.7),
    "logistic_regression": _measured(0.5),
    "search": {
        "complete": 3,
        "pruned": 2,
        "failed": 1,
        "search_s": 12.3,
        "best_trial": 4,
        "best_value": 0.25,
        "best_params": {"n_layers": 1},
    },
}


def test_the_headline_stands_beside_logistic_regression() -> None:
    assert "0.7500" in headline(METRICS)
    assert "(logistic regression: 0.5000)" in headline(METRICS)


def test_the_report_says_what_came_out_and_how(tmp_path: Path) -> None:
    run = Run(RunPaths(tmp_path / "mine"), SweepConfig())
    write_report(tmp_path / "report.md", run, METRICS)
    report = (tmp_path / "report.md").read_text()
    assert report.startswith("# mine\n")
    assert "| Ensemble, test split | 0.7500 | 0.7500 | 0.7500 |" in report
    assert "| joy | 0.7500 | 0.5000 |" in report
    assert "| fear | no positive row | no positive row |" in report
    assert "3 trials complete, 2 pruned, 1 failed in 12 s." in report
    assert '"n_layers": 1' in report
