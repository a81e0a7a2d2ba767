from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.dashboard.note import describe_result, describe_search
from tests.orchestrator_tests import showcase
from tests.tiny_bundle import comparison_of


@pytest.fixture
def searching(tmp_path: Path) -> str:
    run = showcase.run_at(tmp_path, "mails", is_on_a_server=True)
    return describe_search(run, showcase.prepared(), "Under way.")


@pytest.mark.parametrize(
    "fact",
    [
        "# mails",
        "| data | mails.csv, 10 rows: 6 train, 2 valid, 2 test |",
        "| encoder | mini, 4 d |",
        "| split | `0123456789abcdef`, seed 42 |",
        "| budget | 40 trials |",
        "| spam | 8 | 80.0% |",
        r"| a\|b | 1 | 10.0% |",
        "tagsweep run --study-name mails",
    ],
)
def test_it_says_what_is_searched_and_how_to_go_on(searching: str, fact: str) -> None:
    assert fact in searching.splitlines()


def test_classes_are_called_so_and_their_accuracy_comes_first(tmp_path: Path) -> None:
    prepared = showcase.prepared()
    prepared = replace(prepared, dataset=replace(prepared.dataset, class_column="kind"))
    metrics = showcase.metrics()
    metrics["decisions"] = {"test": {}}
    metrics["comparison"] = comparison_of("accuracy")
    metrics["test"]["accuracy"] = metrics["logistic_regression"]["accuracy"] = 0.625
    run = showcase.run_at(tmp_path, "mails")
    note = describe_result(run, prepared, metrics, "s3://there/bundle")
    assert "## Classes" in note
    assert "| class | rows | prevalence |" in note
    assert "| ensemble | **0.6250** | 0.7500 | 0.7500 |" in note
    assert "thresholds" not in note


def test_it_says_no_text_and_no_password(searching: str) -> None:
    assert showcase.SECRET_TEXT not in searching
    assert showcase.PASSWORD not in searching


def test_a_result_stands_beside_logistic_regression_and_names_its_bundle(tmp_path: Path) -> None:
    run = showcase.run_at(tmp_path, "mails")
    note = describe_result(run, showcase.prepared(), showcase.metrics(), "s3://there/bundle")
    assert "30 trials complete, 10 pruned, 1 failed in 1,234 s" in note
    assert "| ensemble | **0.7500** | 0.7500 |" in note
    assert "the ensemble has members of trial 7 (100%)" in note
    assert "| logistic regression | 0.5000 | 0.5000 |" in note
    assert "- Against logistic regression (C = 10): -0.0010 [-0.0050, +0.0030]," in note
    assert "Macro F1 is 0.4500 at the labels' own thresholds, 0.4000 at 0.5." in note
    assert "tagsweep predict s3://there/bundle --text TEXT" in note
    assert f"tagsweep resume {tmp_path / 'run'} --n-trials N" in note
    assert "--study-name" not in note, "whose database only this machine has"
