import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from orchestrator.stage import Stage
from orchestrator.status.nodes import NodeStatus
from orchestrator.status.status import Status, describe_status
from orchestrator.status.study_reader import Failure, FrontTrial, Improvement, RunningTrial
from orchestrator.status.view import Screen, view
from orchestrator.terminal.words import describe_s

RUNNING = tuple(
    RunningTrial(100 + i, f"worker-{i}", "a-node", 4 if i else None, 0.375, 2.0, 1.0, 15.0)
    for i in range(40)
)
STATUS = Status(
    study="mine",
    storage="postgresql://user:***@host/db",
    stage=Stage.SEARCH,
    budget=300,
    finished=75,
    complete=45,
    pruned=30,
    failed=1,
    running=40,
    waiting=2,
    best_value=0.25,
    objectives=("validation_loss",),
    best_values=(0.25,),
    best_params={"n_layers": 1, "dropout0": 0.123456},
    trials_per_min=6.0,
    workers=40,
    seconds_left=3725.0,
    test={"ap_weighted": 0.75},
    out_of_fold=None,
    logistic_regression={"ap_weighted": 0.5},
    headline=("Accuracy: 0.75", "Against it: +0.01"),
    seconds_left_range=(1800.0, 86_400.0),
    prune_rate=0.4,
    is_driven=True,
    improvements=(Improvement(1, 0, 0.75), Improvement(50, 49, 0.25)),
    running_trials=RUNNING,
    nodes=tuple(NodeStatus(f"node-{i}", 2, 2, 1, 0.875, 1.0) for i in range(20)),
    failures=tuple(Failure(i, "diverged: " + "so it\ndid " * 40) for i in range(20)),
)


def _shown(status: Status, screen: Screen, away_s: float | None = None) -> list[str]:
    file = io.StringIO()
    console = Console(
        file=file, width=screen.width, height=screen.height, force_terminal=False, color_system=None
    )
    console.print(view(status, screen, away_s))
    return file.getvalue().splitlines()


def _screen(width: int, height: int, encoding: str = "utf-8") -> Screen:
    return Screen(width, height, encoding)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50), (100, 30), (60, 20)])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_all_of_it_fits_on_the_screen(width: int, height: int, encoding: str) -> None:
    lines = _shown(STATUS, _screen(width, height, encoding))
    assert len(lines) <= height - 1
    assert max(map(len, lines)) <= width
    for part in ("25%, 75 of 300", "#101", "node-0", "Failed last"):
        assert any(part in line for line in lines), part


def test_a_tiny_screen_shows_what_it_can() -> None:
    lines = _shown(STATUS, _screen(12, 6))
    assert lines[0] == "mine: sea..."
    assert max(map(len, lines)) <= 12


def test_what_matters_is_on_a_small_screen() -> None:
    shown = "\n".join(_shown(STATUS, _screen(80, 24)))
    for part in (
        "mine: searching",
        "0.2500, trial 49",
        "6.0 trials/min, 40% pruned, 1 failed, 40 running",
        "1 h 2 min, with 90% certainty 30 min 0 s to 1 d 0 h",
        "88%",
        "#0 diverged: so it did",
    ):
        assert part in shown
    assert "dropout0" not in shown


def test_of_several_objectives_all_values_of_the_best_are_said() -> None:
    several = replace(
        STATUS,
        objectives=("ap_macro", "n_parameters"),
        best_values=(0.25, 20_485.0),
        pareto_front=(FrontTrial(3, (0.2, 9_000.0)), FrontTrial(49, (0.25, 20_485.0))),
    )
    said = "\n".join(_shown(several, _screen(80, 24)))
    assert "ap_macro 0.2500, n_parameters 20,485, trial 49 of 2 on the Pareto front" in said
    assert "Front    2 of 45: #3, #49" in describe_status(several)


def test_a_trial_in_a_later_fold_says_in_which() -> None:
    trials = (replace(RUNNING[1], folds=2), RUNNING[2])
    said = "\n".join(_shown(replace(STATUS, running_trials=trials), _screen(80, 24)))
    assert re.search(r"#101 +fold 3 +0.3750", said)
    assert re.search(r"#102 +5 +0.3750", said)


def test_what_does_not_fit_is_counted() -> None:
    lines = _shown(STATUS, _screen(80, 24))
    (more,) = (line for line in lines if line.startswith("+3"))
    n_shown = sum(line.startswith("#10") for line in lines)
    assert int(more.strip()[1:]) + n_shown == len(RUNNING)


def test_long_names_leave_room_for_numbers() -> None:
    name = "gpu-worker-group-0123456789-" * 2
    trials = tuple(replace(trial, worker=name + "-77", node=name) for trial in RUNNING[1:3])
    nodes = (replace(STATUS.nodes[0], node=name * 2),)
    lines = _shown(replace(STATUS, running_trials=trials, nodes=nodes), _screen(80, 24))
    rows = [line.split() for line in lines if line.startswith("#10")]
    assert [row[:3] for row in rows] == [["#101", "5", "0.3750"], ["#102", "5", "0.3750"]]
    assert all(row[-1].startswith("gpu-worker") for row in rows)
    assert any(re.search(r"^gpu-worker.* 2 +88% +2 +1 +1 s$", line) for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_large_screen_shows_more() -> None:
    small, large = (_shown(STATUS, _screen(*size)) for size in ((80, 24), (160, 50)))
    assert len(large) > 2 * len(small) - 5
    shown = "\n".join(large)
    assert "n_layers 1, dropout0 0.1235" in shown
    assert "postgresql://user:***@host/db" in shown


def test_a_terminal_without_unicode_gets_ascii() -> None:
    foreign = replace(STATUS, study="Kätzchen", failures=(Failure(3, "größer"),))
    lines = _shown(foreign, _screen(80, 24, "ascii"))
    assert any("K?tzchen" in line for line in lines)
    assert any("@" in line and "_" in line for line in lines), "a sparkline"


def test_a_database_that_is_away_is_said_to_be() -> None:
    first, *others = _shown(STATUS, _screen(80, 24), away_s=12.0)
    assert "the database has been away for 12 s" in first
    assert others == _shown(STATUS, _screen(80, 24))[1:]


def test_a_search_that_nobody_drives_says_how_to_go_on() -> None:
    idle = replace(STATUS, is_driven=False, running=0, running_trials=(), nodes=(), failures=())
    assert "tagsweep resume" in _shown(idle, _screen(80, 24))[0]


def test_the_result_is_shown_when_it_is_there() -> None:
    ended = replace(STATUS, stage=Stage.DONE, running_trials=(), nodes=(), failures=())
    lines = _shown(ended, _screen(80, 24))
    assert lines[0] == "mine: done"
    assert lines[-2:] == ["Test   Accuracy: 0.75", "       Against it: +0.01"]


def test_a_narrow_screen_shows_the_result_to_its_end() -> None:
    headline = ("Weighted average precision on the test split: 0.9324 [0.9089, 0.9503]",)
    ended = replace(STATUS, stage=Stage.DONE, headline=headline, running_trials=(), nodes=())
    said = " ".join(" ".join(_shown(ended, _screen(60, 24))).split())
    assert f"Test {headline[0]}" in said


def test_nothing_is_made_up_before_a_trial_has_finished() -> None:
    new = replace(
        STATUS,
        finished=0,
        best_value=None,
        best_values=(),
        best_params=None,
        improvements=(),
        seconds_left=None,
        seconds_left_range=None,
        prune_rate=None,
    )
    shown = "\n".join(_shown(new, _screen(160, 50)))
    assert "none yet" in shown
    assert "unknown before a trial has finished" in shown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7_260, "2 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_times_are_said_in_their_two_largest_units(seconds: float, said: str) -> None:
    assert describe_s(seconds) == said
