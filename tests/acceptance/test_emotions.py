import json
import shutil
from pathlib import Path

from tests.acceptance.commands import Tagsweep, status_of


def test_a_sweep_over_real_text_beats_logistic_regression(
    tagsweep: Tagsweep, emotions_csv: Path, emotions_embeddings: Path, tmp_path: Path
) -> None:
    shutil.copytree(emotions_embeddings, tmp_path / "emotions" / "embeddings")
    data = ("--data", emotions_csv, "--text-column", "text")
    budget = ("--n-trials", 30, "--n-workers", 2)
    command = ("run", *data, *budget, "--run-dir", tmp_path / "emotions")
    tagsweep(*command)
    status = status_of(tagsweep, tmp_path / "emotions")
    assert status["finished"] == 30
    assert status["pruned"] > 0
    assert status["test"]["ap_weighted"] >= status["logistic_regression"]["ap_weighted"]
    assert "Nothing to do" in tagsweep(*command).stdout
    bundle = tmp_path / "emotions" / "bundle"
    shown = tagsweep("predict", bundle, "--text", "I can't believe it, we won!").stdout
    assert [line.split()[0] for line in shown.splitlines()] == [
        *("anger", "fear", "joy", "sadness", "surprise")
    ]
    metrics = json.loads((bundle / "metrics.json").read_text())
    assert metrics["test"] == status["test"]
