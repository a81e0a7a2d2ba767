import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.chaos.examine import count_epochs, count_unlinked, was_alive
from benchmarks.chaos.sightings import MAX_GAP_S, Sightings
from benchmarks.chaos.sweep import processes_in
from shared.study.attributes import (
    CHECKPOINTS,
    PROCESS,
    RESUMED_AT,
    RETRY_OF,
    Failure,
    FailureKind,
)

GRACE_S = 5.0
PID = 7
LOST = {PROCESS: PID, **Failure(FailureKind.LOST, "lost: no sign of life").attrs}


def _attempts(*attempts: tuple[int, int]) -> list[FrozenTrial]:
    """Return a trial's attempts, each by the epoch that it resumed at and those then known."""
    study = optuna.create_study()
    for number, (resumed_at, n_known) in enumerate(attempts):
        attrs = {RETRY_OF: 0, RESUMED_AT: resumed_at} if number else {}
        values = dict.fromkeys(range(n_known), 0.5)
        state = TrialState.FAIL
        study.add_trial(create_trial(state=state, user_attrs=attrs, intermediate_values=values))
    return study.trials


def _reaped(at_s: float) -> FrozenTrial:
    trial = create_trial(state=TrialState.FAIL, user_attrs=LOST)
    trial.datetime_complete = datetime.fromtimestamp(at_s)  # noqa: DTZ006  as Optuna gives it
    return trial


def _look(alive: range) -> Sightings:
    """Return what is seen of a process that is alive in some seconds, and not in others."""
    sightings = Sightings()
    for second in range(1000, 1020):
        sightings.see([PID] if second in alive else [], second)
    return sightings


def test_epochs_after_the_last_checkpoint_count_twice() -> None:
    assert count_epochs(_attempts((0, 5), (3, 8))) == (10, 2)


def test_epochs_that_only_the_checkpoint_knows_were_trained_once() -> None:
    assert count_epochs(_attempts((0, 5), (6, 8))) == (8, 0)


def test_an_attempt_that_never_began_counts_for_nothing() -> None:
    assert count_epochs(_attempts((0, 5), (0, 0), (4, 8))) == (9, 1)


def test_a_trial_that_was_given_up_and_that_none_repeats_is_found() -> None:
    study = optuna.create_study()
    for attrs in (LOST, LOST):
        study.add_trial(create_trial(state=TrialState.FAIL, user_attrs=attrs))
    again = {CHECKPOINTS: [study.trials[0]._trial_id]}
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=0, system_attrs=again))
    assert count_unlinked(study.trials) == 1


@pytest.mark.parametrize(
    ("alive", "is_false"),
    [
        (range(1000, 1020), True),
        (range(1000, 1016), True),  # it died, but later
        (range(1000, 1010), False),  # it had been killed or stopped
        (range(1008, 1020), False),  # it had been stopped, and went on just before
    ],
)
def test_a_trial_is_falsely_reaped_whose_worker_was_alive_for_the_whole_grace(
    alive: range, is_false: bool
) -> None:
    assert was_alive(_reaped(at_s=1011), _look(alive), GRACE_S) is is_false


def test_who_was_not_looked_at_for_a_while_was_not_seen_alive() -> None:
    sightings = Sightings()
    for now_s in (0, 1, 2 + MAX_GAP_S, 3 + MAX_GAP_S):
        sightings.see([PID], now_s)
    assert sightings.was_alive(PID, 0, 1)
    assert not sightings.was_alive(PID, 0, 2 + MAX_GAP_S)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that has a file open, and says nothing of it."""
    with (tmp_path / "file").open("w") as file:
        code = "import time; time.sleep(1000)"
        process = subprocess.Popen([sys.executable, "-c", code], stdout=file, cwd="/")
    yield process
    process.kill()
    process.wait()


def test_whoever_has_a_file_open_is_one_of_a_folders_processes(
    writer: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert [process.pid for process in processes_in(tmp_path)] == [writer.pid]
    writer.kill()
    writer.wait()
    assert processes_in(tmp_path) == []
