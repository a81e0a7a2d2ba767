import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.acceptance.commands import Tagsweep

N_TRIALS = 14
"""More than are sampled at random, so that what is known decides on the others."""
CONFIG = """
data: {csv: rows.csv, text_column: text}
training: {max_epochs: 8}
ensemble: {n_folds: 2}
"""


@pytest.fixture(scope="module")
def config(emotions_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    rows = pd.read_csv(emotions_csv).sample(400, random_state=0)
    rows.to_csv(folder / "rows.csv", index=False)
    path = folder / "sweep.yaml"
    path.write_text(CONFIG)
    return path


def _found(tagsweep: Tagsweep, folder: Path, csv: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the trials but for their times, and what the bundle predicts."""
    trials, predictions = folder / "trials.csv", folder / "predictions.csv"
    tagsweep("export", folder, "--output", trials)
    tagsweep("predict", folder / "bundle", "--input", csv, "--output", predictions)
    found = pd.read_csv(trials)
    return found.filter(regex="^(number|state|value|params_|inter)"), pd.read_csv(predictions)


def test_one_worker_gives_the_same_trials_and_bundle_again_on_ray_as_inline(
    tagsweep: Tagsweep, config: Path, tmp_path: Path
) -> None:
    commands: dict[str, tuple[Any, ...]] = {
        "ray": ("run", config, "--n-workers", 1),
        "inline": ("run", config.with_name("inline.yaml"), "--n-workers", 1),
    }
    config.with_name("inline.yaml").write_text(f"{CONFIG}workers: {{pool: inline}}\n")
    found = {}
    for name, command in commands.items():
        if found:  # the texts are embedded once
            shutil.copytree(tmp_path / "ray" / "embeddings", tmp_path / name / "embeddings")
        tagsweep(*command, "--n-trials", N_TRIALS, "--run-dir", tmp_path / name)
        found[name] = _found(tagsweep, tmp_path / name, config.with_name("rows.csv"))
    for ours, theirs in zip(found["ray"], found["inline"], strict=True):
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
