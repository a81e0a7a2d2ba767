import json
import logging
import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.events.events import Events, read_events, recorded, recording
from orchestrator.events.prometheus import Exposition
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run
from shared.config.sweep import SweepConfig, with_values
from shared.errors import InputError
from shared.versions import versions
from tests.ports import free_port


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    url = "postgresql://me:geheim@nowhere/studies"
    return Run(RunPaths(tmp_path / "run"), SweepConfig(), storage_url=url)


def _open(path: Path, study: str = "s") -> Events:
    return Events(path, study, Exposition(study, 4))


def _trials(*numbers: int) -> list[tuple[str, dict[str, object]]]:
    plain = {"state": "COMPLETE", "epochs": 1, "seconds": 0.5}
    return [("trial_finished", {"number": number} | plain) for number in numbers]


def _numbers(path: Path) -> list[int]:
    return [event["number"] for event in read_events(path)]


def test_an_event_is_a_line_of_json_with_the_time_in_utc(path: Path) -> None:
    _open(path).write("fold_done", fold=1, loss=float("nan"))
    (line,) = path.read_text().splitlines()
    event = json.loads(line)
    age = datetime.now(UTC) - datetime.fromisoformat(event.pop("time"))
    assert timedelta(0) <= age < timedelta(seconds=10)
    assert event == {"event": "fold_done", "study": "s", "fold": 1, "loss": None}


def test_each_trial_is_written_once_by_all_drivers_together(path: Path) -> None:
    first, second = _open(path), _open(path)
    first.write_trials(_trials(0, 1))
    second.write_trials(_trials(0, 1, 2))
    first.write_trials(_trials(2, 3))
    _open(path).write_trials(_trials(3, 4))
    assert _numbers(path) == [0, 1, 2, 3, 4]


def test_a_trial_of_another_study_in_the_same_directory_is_another_one(path: Path) -> None:
    for study in ("a", "b", "a"):
        _open(path, study).write_trials(_trials(0))
    assert [event["study"] for event in read_events(path)] == ["a", "b"]


@pytest.mark.parametrize("n_bytes", [1, 30, -1])
def test_a_line_that_a_killed_driver_left_unfinished_harms_no_other(
    path: Path, n_bytes: int
) -> None:
    _open(path).write_trials(_trials(0, 1))
    whole, torn = path.read_bytes().splitlines()
    path.write_bytes(whole + b"\n" + torn[:n_bytes])
    late = _open(path)
    late.write_trials(_trials(0))
    late.write_trials(_trials(0, 1))
    late.write_trials(_trials(1, 2))
    assert _numbers(path) == [0, 1, 2]


def test_events_that_cannot_be_written_are_warned_of_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir()
    events = _open(path)
    with caplog.at_level(logging.WARNING):
        events.write("fold_done")
        events.write("fold_done")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "Events of this run are lost"
    ]
    path.rmdir()
    events.write("fold_done")
    assert len(list(read_events(path))) == 1


def test_a_disk_that_is_full_for_a_while_ends_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = _open(path)
    events.write_trials(_trials(0))
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, unlimited[1]))
    try:
        events.write_trials(_trials(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert "File too large" in caplog.text
    events.write_trials(_trials(0, 2))
    assert _numbers(path) == [0, 2]
    _open(path).write_trials(_trials(0, 1, 2))
    assert _numbers(path) == [0, 2, 1]


def test_nothing_begins_where_keras_is_set_up_for_what_heads_cannot_be_trained_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    versions.cache_clear()
    with pytest.raises(InputError, match="KERAS_BACKEND says 'torch'"), recording(run):
        pytest.fail("it has begun")


def test_a_run_that_ends_well_has_written_its_stages(run: Run) -> None:
    with recording(run) as events, events.stage("embed"):
        pass
    start, begun, ended, end = read_events(run.paths.events)
    assert (start["event"], start["n_trials"]) == ("run_started", 100)
    assert start["versions"].keys() > {"tagsweep", "optuna"}
    assert (begun["event"], begun["stage"]) == ("stage_started", "embed")
    assert (ended["event"], ended["stage"], ended["how"]) == ("stage_ended", "embed", "done")
    assert 0 <= ended["seconds"] <= end["seconds"]
    assert (end["event"], end["how"]) == ("run_ended", "done")
    assert "geheim" not in run.paths.events.read_text()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyboardInterrupt(), {"how": "stopped"}),
        (
            InputError("Two\nlines."),
            {"how": "failed", "error": "InputError", "message": "Two lines."},
        ),
    ],
)
def test_a_run_that_does_not_end_well_says_how(
    run: Run, error: BaseException, expected: dict[str, str]
) -> None:
    @recorded
    def fail(_run: Run, _console: Console, events: Events) -> None:
        with events.stage("search"):
            raise error

    with pytest.raises(type(error)):
        fail(run, Console(quiet=True))
    for event in list(read_events(run.paths.events))[-2:]:
        assert expected.items() <= event.items()


def test_a_port_that_is_taken_is_refused_before_anything_starts(run: Run) -> None:
    port = free_port()
    config = with_values(run.config, {"watch": {"metrics_port": port}})
    served = Run(run.paths, config)
    with recording(served):
        with pytest.raises(InputError, match=f"127.0.0.1:{port}: Address already in use"):
            recording(served).__enter__()
        assert [event["event"] for event in read_events(run.paths.events)] == ["run_started"]
    with recording(served):
        pass
