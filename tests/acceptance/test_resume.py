import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from optuna import load_study

from orchestrator.bundle.manifest import read_manifest
from tests.acceptance.commands import Tagsweep, processes_of, start, status_of


def _wait_for_a_finished_trial(tagsweep: Tagsweep, folder: Path, n_before: int = 0) -> dict:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (folder / "postgres" / "PG_VERSION").exists():
            seen = tagsweep("status", folder, "--json", code=None)
            if seen.returncode == 0 and (status := json.loads(seen.stdout))["finished"] > n_before:
                return status
        time.sleep(1)
    pytest.fail("no trial finished")


N_TRIALS = 14


@pytest.fixture
def command(short_yaml: Path, prepared: Path) -> tuple[object, ...]:
    return ("run", short_yaml, "--n-trials", N_TRIALS, "--n-workers", 2, "--run-dir", prepared)


def test_a_stopped_run_goes_on_with_the_same_command(
    tagsweep: Tagsweep, command: tuple[object, ...], prepared: Path, tmp_path: Path
) -> None:
    n_finished, endless = 0, ("--n-trials", 100_000)
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(*command, *endless, cwd=tmp_path)
        seen = _wait_for_a_finished_trial(tagsweep, prepared, n_finished)
        process.send_signal(number)
        _, errors = process.communicate(timeout=90)
        assert process.returncode == 3, errors
        assert errors.endswith("Stopped. Run the same command again to go on.\n")
        assert processes_of(tmp_path) == []
        assert (seen["stage"], seen["workers"]) == ("search", 2)
        n_finished = status_of(tagsweep, prepared)["finished"]
    tagsweep(*command, "--n-trials", n_finished + 2)
    status = status_of(tagsweep, prepared)
    assert (status["finished"], status["running"], status["stage"]) == (n_finished + 2, 0, "done")


def _wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not come so"
        time.sleep(0.02)


def test_a_run_whose_driver_is_killed_in_each_stage_goes_on_with_the_same_command(
    tagsweep: Tagsweep, command: tuple[object, ...], prepared: Path, tmp_path: Path
) -> None:
    shutil.rmtree(prepared)
    process = start(*command, cwd=tmp_path)
    _wait_until(lambda: bool(list(prepared.glob("embeddings/*.partial*"))), process)
    process.kill()
    process.communicate()

    process = start(*command, cwd=tmp_path)
    _wait_for_a_finished_trial(tagsweep, prepared)
    of_ray = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "ray" in " ".join(child.cmdline()) and child.name() != "postgres"
    ]
    assert sum("ray::Worker" in " ".join(child.cmdline()) for child in of_ray) == 2
    process.kill()
    process.communicate()
    assert psutil.wait_procs(of_ray, timeout=30)[1] == [], "they outlive their driver"

    process = start(*command, cwd=tmp_path)
    _wait_until(lambda: bool(list(prepared.glob("store/ensemble/*/fold-?.keras"))), process)
    process.kill()
    process.communicate()
    (kept,) = prepared.glob("store/ensemble/*/fold-?.keras")
    written_ns = kept.stat().st_mtime_ns

    tagsweep(*command)
    status = status_of(tagsweep, prepared)
    assert (status["finished"], status["running"], status["stage"]) == (N_TRIALS, 0, "done")
    assert kept.stat().st_mtime_ns == written_ns, "a finished fold is not trained again"
    assert processes_of(tmp_path) == []


def test_a_larger_budget_runs_the_difference_and_other_decisions_train_nothing(
    tagsweep: Tagsweep, prepared: Path, inline_yaml: Path
) -> None:
    tagsweep("run", inline_yaml, "--n-trials", 2, "--run-dir", prepared)
    for budget, resume in ((2, ()), (5, ("--n-trials", 5))):
        shown = tagsweep("resume", prepared, *resume).stdout
        assert ("Nothing to do" in shown) == (budget == 2)
        status = status_of(tagsweep, prepared)
        assert (status["finished"], status["budget"], status["stage"]) == (budget, budget, "done")

    members = {path: path.stat().st_mtime_ns for path in prepared.glob("store/ensemble/*/*")}
    assert read_manifest(prepared / "bundle").thresholds != (0.5,) * 5
    config = inline_yaml.with_name("other.yaml")
    config.write_text(f"{inline_yaml.read_text()}decisions: {{threshold: half}}\n")
    again = ("run", config, "--n-trials", 5, "--run-dir", prepared)
    for is_new in (True, False):
        assert ("Nothing to do" in tagsweep(*again).stdout) != is_new
    assert read_manifest(prepared / "bundle").thresholds == (0.5,) * 5
    after = {path: path.stat().st_mtime_ns for path in prepared.glob("store/ensemble/*/*")}
    assert after == members


def test_a_study_goes_on_without_its_driver_and_on_another_machine(
    tagsweep: Tagsweep,
    short_yaml: Path,
    prepared: Path,
    postgres_url: str,
    study_name: str,
    tmp_path: Path,
) -> None:
    here = shutil.copytree(short_yaml.parent, tmp_path / "here")
    study = ("--storage", postgres_url, "--study-name", study_name)
    tagsweep("worker", *study, code=2)
    limits = ("--n-trials", 6, "--timeout", 1, "--n-workers", 1)
    tagsweep("run", here / short_yaml.name, *limits, *study, "--run-dir", prepared, code=1)
    before = status_of(tagsweep, prepared, *study[:2])
    assert before["finished"] < 6
    tagsweep("worker", *study)
    assert status_of(tagsweep, prepared, *study[:2])["finished"] == before["finished"], "time is up"
    kept = load_study(study_name=study_name, storage=postgres_url)
    kept.set_user_attr("limits", kept.user_attrs["limits"] | {"timeout_s": 90})
    assert "is over" in tagsweep("worker", *study).stdout
    after = status_of(tagsweep, prepared, *study[:2])
    assert (after["finished"], after["running"], after["waiting"]) == (6, 0, 0)
    assert kept.user_attrs["search_s"] > 2, "the worker counts its time when there is no driver"
    shutil.rmtree(here)
    tagsweep("run", *study, "--run-dir", tmp_path / "there")
    assert status_of(tagsweep, tmp_path / "there", *study[:2])["stage"] == "done"
    assert re.search(f"{re.escape(study_name)} +6 of 6", tagsweep("studies", *study[:2]).stdout)
    doomed = ("delete", tmp_path / "there", *study[:2])
    assert "6 finished trials" in tagsweep(*doomed, stdin="n\n").stdout
    tagsweep(*doomed, stdin="y\n")
    assert study_name not in tagsweep("studies", *study[:2]).stdout
    assert not (tmp_path / "there").exists()


def test_time_ends_a_search(tagsweep: Tagsweep, inline_yaml: Path, prepared: Path) -> None:
    limits = ("--n-trials", 100_000, "--timeout", 10)
    command = ("run", inline_yaml, *limits, "--run-dir", prepared)
    tagsweep(*command)
    status = status_of(tagsweep, prepared)
    assert status["stage"] == "done"
    assert 0 < status["finished"] < 100_000
    assert "Nothing to do" in tagsweep(*command).stdout
