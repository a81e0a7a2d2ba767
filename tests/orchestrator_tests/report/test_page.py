import json
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.study import Study

from orchestrator.bundle.manifest import SCHEMA, Manifest
from orchestrator.data.splits import Split, write_split
from orchestrator.data.stored import keep_data
from orchestrator.evaluation.scores import Scores, write_scores
from orchestrator.events.events import read_events, recording
from orchestrator.report import page
from orchestrator.report.page import write_report
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run
from shared.config.sweep import SweepConfig, with_values
from shared.metrics import average_precision
from shared.study.attributes import DATA, FINGERPRINT, LABELS, SEARCH_S, VERSIONS
from tests.orchestrator_tests.report.trials import make_trial
from tests.tiny_bundle import comparison_of, decisions_of
from workers import SearchArrays

EVIL = "<script>alert(1)</script>"
NAMES = (f"joy{EVIL}", "fear")
TEXT = f"a text of mine {EVIL}"


@pytest.fixture(autouse=True)
def _no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages only: a browser that draws images takes longer than all else."""
    monkeypatch.setattr(page, "write_images", lambda *_: None)


@pytest.fixture
def study() -> Study:
    study = optuna.create_study()
    study.add_trials(make_trial(i) for i in range(6))
    for name, value in (
        (FINGERPRINT, "f" * 64),
        (DATA, {}),
        (LABELS, list(NAMES)),
        (SEARCH_S, 12.5),
        (VERSIONS, {"optuna": "5"}),
    ):
        study.set_user_attr(name, value)
    return study


@pytest.fixture
def searched(tmp_path: Path) -> Run:
    """Return a run that has no ensemble yet."""
    paths = RunPaths(tmp_path / "mine")
    paths.root.mkdir()
    write_split(paths.split, Split(np.arange(20), np.arange(20, 25), np.arange(25, 40), "f"))
    return Run(paths, with_values(SweepConfig(), {"study": {"n_trials": 6}}))


@pytest.fixture
def ensembled(searched: Run, arrays: SearchArrays) -> Run:
    """Return a run with scores of 15 test rows, and a bundle without models."""
    rows = np.arange(25, 40)
    labels = (np.arange(30).reshape(15, 2) % 3 > 0).astype(np.float32)
    rng = np.random.default_rng(0)
    scores = {
        name: Scores(rows, labels, rng.uniform(size=labels.shape).astype(np.float32))
        for name in ("test", "logistic_regression", "default_head", "uncalibrated")
    }
    write_scores(searched.paths.scores, scores)
    metrics = {
        n: asdict(average_precision(s.labels, s.probabilities, NAMES)) for n, s in scores.items()
    }
    manifest = Manifest(
        schema_version=SCHEMA,
        created=datetime.now(UTC),
        versions={"keras": "3"},
        text_column="text",
        label_names=NAMES,
        class_column=None,
        thresholds=(0.5, 0.5),
        encoders=(),
        params={},
        files={},
    )
    searched.paths.bundle.mkdir()
    (searched.paths.bundle / "manifest.json").write_text(manifest.model_dump_json())
    search = {"complete": 4, "pruned": 0}
    ways = {
        "best": {"out_of_fold": 0.7, "nested": 0.7},
        "greedy": {"out_of_fold": 0.73, "nested": 0.72},
    }
    teams = [
        {"trial": 1, "share": 0.75},
        {"trial": 2, "share": 0.0},
        {"trial": None, "share": 0.25},
    ]
    ensemble = {"source": "greedy", "teams": teams, "ways": ways}
    (searched.paths.bundle / "metrics.json").write_text(
        json.dumps(
            metrics
            | {"search": search, "ensemble": ensemble, "ensemble_s": 3.0}
            | {"decisions": decisions_of(*NAMES), "comparison": comparison_of()}
            | {"regularisation": {"description": "C = 10"}}
        )
    )
    keep_data(searched.store, "f" * 64, (TEXT,) * 40, arrays)
    return searched


def _shown(run: Run) -> str:
    """Return the page without the library that it carries."""
    text = run.paths.report.read_text()
    before, _, after = text.partition("<script>/**")
    return before + after.partition("</script>")[2]


def test_the_pareto_front_is_a_table(searched: Run, study: Study) -> None:
    objectives = ["ap_macro", "n_parameters"]
    several = optuna.create_study(directions=["maximize", "minimize"])
    for name, value in study.user_attrs.items():
        several.set_user_attr(name, value)
    for values in ([0.5, 10_000.0], [0.75, 20_000.0], [0.25, 30_000.0]):
        several.tell(several.ask(), values)
    asked = {"study": {"objective": objectives, "n_folds": 3}}
    write_report(replace(searched, config=with_values(searched.config, asked)), several)
    page = searched.paths.report.read_text()
    assert "pruned in the first" not in page, "nothing is pruned where there are several objectives"
    assert "Saved by pruning" not in page
    assert "#1, macro average precision 0.7500, number of parameters 20,000" in page
    assert page.index("<td>#1</td><td>0.7500</td>") < page.index("<td>#0</td><td>0.5000</td>")
    assert "<td>#2</td>" not in page
    told = json.loads(searched.paths.report_numbers.read_text())["searched"]
    assert [one["trial"] for one in told["front"]] == [1, 0]


def test_the_folds_of_the_trials_are_said(searched: Run, study: Study) -> None:
    folds = {"study": {"n_folds": 5, "n_repeats": 2}}
    write_report(replace(searched, config=with_values(searched.config, folds)), study)
    assert "each measured on 10 folds if it is not pruned" in searched.paths.report.read_text()


def test_a_search_under_way_is_reported_without_a_result(searched: Run, study: Study) -> None:
    write_report(searched, study)
    assert "There is no ensemble yet" in _shown(searched)
    assert 'id="parallel_coordinate"' in _shown(searched)
    assert 'id="calibration"' not in _shown(searched)
    numbers = json.loads(searched.paths.report_numbers.read_text())
    assert numbers["outcome"] is None
    assert numbers["searched"]["complete"] == 6
    assert numbers["asked"]["rows"] == {"train": 20, "valid": 5, "test": 15}


def test_the_ways_of_making_the_ensemble_stand_beside_each_other(
    ensembled: Run, study: Study
) -> None:
    write_report(ensembled, study)
    page = " ".join(_shown(ensembled).split())
    assert "The ensemble has members of trial 1 (75 %), the kernel machine (25 %)." in page
    assert "members</td><td>0.7000</td><td></td>" in page
    assert "<td>greedy selection (taken)</td><td>0.7200</td><td>0.9000</td>" in page


def test_a_study_without_a_trial_is_reported_too(searched: Run, study: Study) -> None:
    empty = optuna.create_study()
    for name, value in study.user_attrs.items():
        empty.set_user_attr(name, value)
    write_report(searched, empty)
    assert "0 of 6 trials finished" in _shown(searched)


def test_a_search_that_others_drive_is_reported_without_its_split(
    searched: Run, study: Study
) -> None:
    searched.paths.split.unlink()
    write_report(searched, study)
    assert json.loads(searched.paths.report_numbers.read_text())["asked"]["rows"] == {}
    assert "rows" not in _shown(searched).partition("<main>")[2].partition("<h2>Result")[0]


def test_the_time_of_embedding_is_that_of_the_longest_start(searched: Run, study: Study) -> None:
    with recording(searched) as events:
        for stage, seconds in (("embed", 0.05), ("embed", 0), ("search", 0.1)):
            with events.stage(stage):
                time.sleep(seconds)
    write_report(searched, study)
    ends = [e for e in read_events(searched.paths.events) if e["event"] == "stage_ended"]
    starts_s = [event["seconds"] for event in ends if event["stage"] == "embed"]
    assert len(starts_s) == 2
    assert json.loads(searched.paths.report_numbers.read_text())["cost"]["embed_s"] == max(starts_s)


def test_a_result_is_reported_with_its_intervals(ensembled: Run, study: Study) -> None:
    write_report(ensembled, study)
    assert "Against default head" in _shown(ensembled)
    assert "2,000 resamples" in _shown(ensembled)
    assert "2 trials have finished since the ensemble was made." in _shown(ensembled)
    assert "Ensemble</dt><dd>3.0 s" in _shown(ensembled)


def test_decisions_are_reported_with_what_calibration_changed(ensembled: Run, study: Study) -> None:
    write_report(ensembled, study)
    shown = _shown(ensembled)
    assert "Thresholds were chosen for the highest F1" in shown
    assert "<td>at these thresholds</td><td>0.6000</td><td>0.8000</td>" in shown
    assert "<td>before calibration</td><td>0.0500</td>" in shown
    assert "temperature 2.00, fear: none" in shown
    assert "<b>fear</b>: 5 of 50." in shown
    assert 'id="uncalibrated"' in shown


def test_classes_are_reported_with_their_one_calibration(ensembled: Run, study: Study) -> None:
    bundle, of_classes = ensembled.paths.bundle, {"accuracy": 0.625, "f1_macro": 0.5}
    manifest, metrics = (
        json.loads((bundle / name).read_text()) for name in ("manifest.json", "metrics.json")
    )
    manifest |= {"class_column": "mood", "thresholds": None}
    for name in ("test", "logistic_regression", "default_head"):
        metrics[name] |= of_classes
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    (bundle / "metrics.json").write_text(json.dumps(metrics))
    run = replace(
        ensembled, config=with_values(ensembled.config, {"data": {"class_column": "mood"}})
    )
    write_report(run, study)
    assert "<h2>Probabilities</h2>" in _shown(run)
    assert "Calibration: temperature 2.00." in _shown(run)
    assert "Thresholds were chosen" not in _shown(run)


def test_what_calibration_left_as_it_was_is_told_once(ensembled: Run, study: Study) -> None:
    path = ensembled.paths.bundle / "metrics.json"
    metrics = json.loads(path.read_text())
    for one in metrics["decisions"]["per_label"].values():
        one["calibration"] = "none"
    path.write_text(json.dumps(metrics))
    write_report(ensembled, study)
    assert "<td>not calibrated</td><td>0.0500</td>" in _shown(ensembled)
    assert "<td>calibrated</td>" not in _shown(ensembled)
    assert 'id="uncalibrated"' not in _shown(ensembled)


def test_a_label_that_no_row_gets_is_told_in_words(ensembled: Run, study: Study) -> None:
    path = ensembled.paths.bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"thresholds": [1.1, 0.5]}))
    write_report(ensembled, study)
    assert ">: no test row gets it, though 10 have it.</p>" in _shown(ensembled).replace("</b", "")


def test_nothing_of_the_data_is_read_as_markup(ensembled: Run, study: Study) -> None:
    write_report(ensembled, study, show_texts=True)
    assert "alert(1)" in _shown(ensembled)
    assert EVIL not in _shown(ensembled)


def test_texts_are_shown_only_if_asked_for(ensembled: Run, study: Study) -> None:
    for show_texts in (True, False):
        write_report(ensembled, study, show_texts=show_texts)
        assert ("<th>text</th>" in _shown(ensembled)) == show_texts
        assert ("a text of mine" in _shown(ensembled)) == show_texts
        assert ("a text of mine" in ensembled.paths.report_numbers.read_text()) == show_texts


def test_a_password_is_never_shown(searched: Run, study: Study) -> None:
    values = {"workers": {"store": "s3://me:s3cret@bucket/folder"}}
    config = with_values(searched.config, values)
    run = Run(searched.paths, config, "postgresql://me:s3cret@host/db")
    write_report(run, study)
    assert "s3cret" not in run.paths.report.read_text()
    assert "s3cret" not in run.paths.report_numbers.read_text()
    assert "***@bucket/folder" in _shown(run)


def test_a_report_is_dated_for_people_and_for_programs(searched: Run, study: Study) -> None:
    write_report(searched, study)
    written = json.loads(searched.paths.report_numbers.read_text())["written"]
    moment = page._moment(written)
    assert f'<time datetime="{written}">{moment}</time>' in _shown(searched)
    assert page._moment("2026-11-07T09:05:19+00:00") == "7 November 2026, 09:05 UTC"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "not recorded"), (3.04, "3.0 s"), (150, "2.5 min"), (9000, "2.5 h")],
)
def test_durations_are_readable(seconds: float | None, shown: str) -> None:
    assert page._duration(seconds) == shown
