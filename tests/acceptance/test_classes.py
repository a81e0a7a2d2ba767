import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from tests.acceptance.commands import Tagsweep

N_ROWS = 300
SETTINGS = """
data: {csv: topics.csv, class_column: topic}
study: {n_trials: 2, objective: ap_macro}
training: {max_epochs: 10}
ensemble: {n_folds: 2}
workers: {pool: inline}
"""


@pytest.fixture
def topics(checkout: Path, tmp_path: Path) -> Path:
    """Return the example's reviews that have one tag, which becomes their class."""
    reviews = pd.read_csv(checkout / "examples" / "reviews.csv")
    tags = reviews.drop(columns="text")
    table = pd.DataFrame({"text": reviews["text"], "topic": tags.idxmax(axis=1)})
    path = tmp_path / "topics.csv"
    table[tags.sum(axis=1) == 1].head(N_ROWS).to_csv(path, index=False)
    return path


def _in_this_process(*arguments: object) -> str:
    """Run a command where TensorFlow and encoder need not be loaded anew."""
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_texts_get_one_of_several_classes_from_the_csv_to_predictions(
    tagsweep: Tagsweep, topics: Path, tmp_path: Path
) -> None:
    settings, bundle, output = (tmp_path / name for name in ("s.yaml", "run/bundle", "out.csv"))
    settings.write_text(SETTINGS)
    done = tagsweep("run", settings, "--run-dir", tmp_path / "run")
    assert "Macro average precision on the test split: 0." in done.stdout
    report = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "<h2>By class</h2>" in report
    assert 'id="confusion"' in report
    assert "<th>threshold</th>" not in report
    _in_this_process("predict", bundle, "--input", topics, "--output", output)
    given, predicted = pd.read_csv(topics)["topic"], pd.read_csv(output)
    probabilities = predicted.filter(like="_probability")
    assert list(predicted) == ["text", "topic", *probabilities, "topic_predicted"]
    assert predicted["topic"].equals(given), "the input's columns stay as they are"
    assert probabilities.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    accuracy = (predicted["topic_predicted"] == given).mean()
    assert accuracy > 0.6
    found = json.loads(_in_this_process("evaluate", bundle, topics, "--json"))
    assert found["accuracy"] == pytest.approx(accuracy)
    assert all(one["p_value"] > 0.05 for one in found["drift"]["labels"].values())
