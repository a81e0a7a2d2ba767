"""What becomes of a run whose terminal goes, whose readers leave, or that is called anywhere."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from orchestrator.events.events import read_events
from tests.acceptance.commands import Tagsweep, processes_of, start, status_of
from tests.foreign import enter_foreign_folder


def _wait_for_a_finished_trial(events: Path) -> None:
    deadline = time.monotonic() + 120
    while not (events.exists() and '"trial_finished"' in events.read_text()):
        assert time.monotonic() < deadline, "no trial finished"
        time.sleep(0.2)


def test_a_run_in_a_foreign_folder_whose_terminal_goes_hands_all_back(
    tagsweep: Tagsweep,
    short_yaml: Path,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = enter_foreign_folder(tmp_path, monkeypatch)
    limits = ("--n-trials", 100_000, "--n-workers", 1, "--run-dir", prepared)
    process = start("run", short_yaml, *limits, cwd=folder, start_new_session=True)
    _wait_for_a_finished_trial(prepared / "events.jsonl")
    os.killpg(process.pid, signal.SIGHUP)  # as the kernel does, to all that run in the terminal
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 3, errors
    assert not list(folder.rglob("ran-*"))
    status = status_of(tagsweep, prepared)
    assert (status["running"], status["waiting"] > 0) == (0, True)
    assert "trial_lost" not in {event["event"] for event in read_events(prepared / "events.jsonl")}
    assert processes_of(tmp_path) == []


def test_a_run_goes_on_when_nobody_reads_what_it_shows(
    tagsweep: Tagsweep, inline_yaml: Path, prepared: Path, tmp_path: Path
) -> None:
    process = start("run", inline_yaml, "--n-trials", 3, "--run-dir", prepared, cwd=tmp_path)
    assert process.stderr
    assert process.stderr.readline()
    process.stderr.close()
    process.stderr = None
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0
    assert "Bundle:" in output
    assert json.loads(tagsweep("status", prepared, "--json").stdout)["finished"] == 3
