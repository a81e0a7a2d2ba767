import csv
import io
import json
import re
import resource
import shutil
import subprocess
from pathlib import Path
from subprocess import PIPE

import pandas as pd
import pytest
import yaml

from orchestrator.bundle.manifest import read_manifest
from tests.acceptance.commands import TAGSWEEP, FinishedRun, Tagsweep, processes_of, status_of


def test_a_run_ends_with_its_result_beside_logistic_regression(finished: FinishedRun) -> None:
    result = r"precision on the test split: \d\.\d{4} \[.*\]\nAgainst logistic .*: [+-]0\.\d{4} \["
    assert re.search(result, finished.output)
    report = re.search(r"Report: (.*)", finished.output)
    bundle = re.search(r"Bundle: (.*)", finished.output)
    assert report
    assert bundle
    assert Path(report[1]).read_text().startswith("<!doctype html>")
    assert (Path(bundle[1]) / "manifest.json").exists()


def test_the_events_of_a_run_tell_its_stages_trials_and_result(finished: FinishedRun) -> None:
    path = finished.folder / "events.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    of = {event["event"]: [e for e in events if e["event"] == event["event"]] for event in events}
    first_end = next(event for event in events if event["event"] == "run_ended")
    assert (events[0]["event"], events[0]["n_trials"]) == ("run_started", 8)
    assert first_end["how"] == "done"
    assert sorted(event["number"] for event in of["trial_finished"]) == list(range(8))
    for event in of["trial_finished"]:
        assert event["epochs"] > 0
        assert event["worker"] in {"worker-0", "worker-1"}
    of_first = [e for e in of["stage_ended"] if e["time"] <= first_end["time"]]
    assert [event["stage"] for event in of_first] == ["embed", "search", "ensemble"]
    assert 0 < sum(event["seconds"] for event in of_first) <= first_end["seconds"]
    assert sum(event["joined"] for event in of["workers_joined"]) == 2
    assert sorted(event["fold"] for event in of["fold_done"]) == [0, 1]
    assert 0 < of["bundle_written"][0]["test"] <= 1
    assert not re.search("postgres|password|://", path.read_text())


def test_the_database_is_stopped_at_the_end(finished: FinishedRun) -> None:
    assert processes_of(finished.folder) == []


def test_a_run_whose_directory_is_copied_elsewhere_is_finished_there_too(
    tagsweep: Tagsweep, finished: FinishedRun, tmp_path: Path
) -> None:
    copy = shutil.copytree(finished.folder, tmp_path / "other")
    assert status_of(tagsweep, copy)["finished"] == 8
    assert "Nothing to do: study 'run'" in tagsweep("run", "--run-dir", copy).stdout


def test_the_status_says_all_that_it_promises(tagsweep: Tagsweep, finished: FinishedRun) -> None:
    status = status_of(tagsweep, finished.folder)
    assert (status["study"], status["stage"], status["budget"]) == ("run", "done", 8)
    assert status["finished"] == status["complete"] + status["pruned"] == 8
    assert (status["failed"], status["running"], status["waiting"]) == (0, 0, 0)
    assert 0 < status["best_value"] < 1
    assert status["best_params"]["n_layers"] in {1, 2, 3}
    assert status["trials_per_min"] > 0
    assert (status["workers"], status["seconds_left"]) == (0, 0)
    for average in ("ap_weighted", "ap_macro", "ap_micro"):
        assert 0 < status["test"][average] <= 1
    assert set(status["test"]["per_label"]) == {"praise", "delivery", "defect", "price", "support"}
    assert 0 < status["logistic_regression"]["ap_weighted"] <= 1


def test_the_status_is_readable_too(tagsweep: Tagsweep, finished: FinishedRun) -> None:
    shown = tagsweep("status", finished.folder).stdout
    assert "8 of 8 finished" in shown
    assert "logistic regression" in shown


def test_the_same_command_again_does_nothing(tagsweep: Tagsweep, finished: FinishedRun) -> None:
    bundle = finished.folder / "bundle"
    before = bundle.stat().st_mtime_ns
    again = tagsweep(*finished.command)
    assert "Nothing to do" in again.stdout
    assert bundle.stat().st_mtime_ns == before
    assert status_of(tagsweep, finished.folder)["finished"] == 8


def test_one_text_gets_a_probability_and_a_decision_a_label(
    tagsweep: Tagsweep, finished: FinishedRun
) -> None:
    bundle = finished.folder / "bundle"
    shown = tagsweep("predict", bundle, "--text", "The lid came off, awful").stdout
    rows = [line.split() for line in shown.splitlines()]
    assert [row[0] for row in rows] == ["praise", "delivery", "defect", "price", "support"]
    assert all(0 <= float(row[1]) <= 1 for row in rows)
    thresholds = read_manifest(bundle).thresholds
    for (_, probability, verdict), threshold in zip(rows, thresholds, strict=True):
        assert (verdict == "yes") == (float(probability) >= threshold)


def test_a_thousand_rows_come_back_in_order(
    tagsweep: Tagsweep, finished: FinishedRun, checkout: Path, tmp_path: Path
) -> None:
    texts = pd.read_csv(checkout / "examples" / "reviews.csv", nrows=1000)["text"]
    table = pd.DataFrame({"id": range(1000), "note": texts})
    table.to_csv(tmp_path / "new.csv", index=False)
    bundle, output = finished.folder / "bundle", tmp_path / "out.csv"
    where = ("--input", tmp_path / "new.csv", "--text-column", "note", "--output", output)
    shown = tagsweep("predict", bundle, *where).stderr.splitlines()
    assert shown[:2] == ["Loading the model ...", "Loading the encoder ..."]
    assert shown[-1].startswith("Predicting: 1000/1000 ")
    predicted = pd.read_csv(output)
    assert predicted[["id", "note"]].equals(table)
    assert predicted["defect"].isin([0, 1]).all()
    assert predicted["defect_probability"].between(0, 1).all()


def test_lines_of_standard_input_are_predicted(tagsweep: Tagsweep, finished: FinishedRun) -> None:
    shown = tagsweep("predict", finished.folder / "bundle", "-", stdin="good\nbad\n").stdout
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert [row["text"] for row in rows] == ["good", "bad"]


def test_the_stages_run_by_themselves_for_a_single_label_and_again_for_another_ensemble(
    tagsweep: Tagsweep, inline_yaml: Path, prepared: Path
) -> None:
    folder = prepared
    tagsweep("prepare", inline_yaml, "--run-dir", folder, "--label-columns", "defect")
    assert "no study" in tagsweep("status", folder, code=1).stderr
    tagsweep("search", folder, "--n-trials", 2)
    assert status_of(tagsweep, folder)["stage"] == "ensemble"
    assert "Bundle: " in tagsweep("ensemble", folder).stdout
    status = status_of(tagsweep, folder)
    assert (status["stage"], status["finished"]) == ("done", 2)
    assert list(status["test"]["per_label"]) == ["defect"]
    other = 1 - _ensemble_trial(folder)
    tagsweep("ensemble", folder, "--trial", other)
    assert "Nothing to do" in tagsweep("resume", folder, "--n-trials", 2).stdout
    assert _ensemble_trial(folder) == other
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["ensemble"] |= {"source": "greedy", "top_k": 2, "kernel": True}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    tagsweep("ensemble", folder)
    made = json.loads((folder / "bundle" / "metrics.json").read_text())["ensemble"]
    assert (made["source"], list(made["ways"])) == ("greedy", ["best", "top", "greedy", "kernel"])
    assert sum(team["share"] for team in made["teams"]) == pytest.approx(1)
    assert "defect" in tagsweep("predict", folder / "bundle", "--text", "It broke").stdout
    tagsweep("ensemble", folder, "--trial", other)
    made = json.loads((folder / "bundle" / "metrics.json").read_text())["ensemble"]
    assert made["teams"] == [{"trial": other, "share": 1.0}]


def _ensemble_trial(folder: Path) -> int:
    metrics = json.loads((folder / "bundle" / "metrics.json").read_text())
    trial: int = metrics["search"]["trial"]
    return trial


def test_the_help_is_there_at_once() -> None:
    def processor_s() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert b"predict" in subprocess.run([TAGSWEEP, "--help"], stdout=PIPE, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(processor_s() for _ in range(3)) < 0.7
