import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.acceptance.commands import FinishedRun, Tagsweep, start
from tests.acceptance.pseudo_terminal import COLOUR, PseudoTerminal

N_TRIALS = 48
SIZES = {"small": (80, 24), "large": (160, 50)}
DEADLINE_S = 150


def _wait_for_the_study(tagsweep: Tagsweep, folder: Path, sweep: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        if (folder / "postgres" / "PG_VERSION").exists() and (
            tagsweep("status", folder, code=None).returncode == 0
        ):
            return
        assert sweep.poll() is None, sweep.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def watched(
    tagsweep: Tagsweep,
    short_yaml: Path,
    finished: FinishedRun,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, PseudoTerminal]:
    """Return terminals that have watched one sweep to its end, and one that was interrupted."""
    folder = tmp_path_factory.mktemp("watched") / "run"
    (folder / "embeddings").parent.mkdir()
    (folder / "embeddings").symlink_to(finished.folder / "embeddings")
    limits = ("--n-trials", N_TRIALS, "--n-workers", 2)
    sweep = start("run", short_yaml, *limits, "--run-dir", folder, cwd=folder.parent)
    _wait_for_the_study(tagsweep, folder, sweep)
    command = ("status", folder, "--watch")
    terminals = {
        "small": PseudoTerminal(command, *SIZES["small"], {"NO_COLOR": "1"}),
        "large": PseudoTerminal(command, *SIZES["large"]),
        "interrupted": PseudoTerminal(command, *SIZES["small"]),
    }
    deadline, open_, is_interrupted = time.monotonic() + DEADLINE_S, dict(terminals), False
    while open_:
        open_ = {name: terminal for name, terminal in open_.items() if terminal.take_in()}
        if len(terminals["interrupted"].screens) == 3 and not is_interrupted:
            terminals["interrupted"].process.sendintr()
            is_interrupted = True
        assert time.monotonic() < deadline, [terminal.screens[-1:] for terminal in open_.values()]
    _, errors = sweep.communicate(timeout=DEADLINE_S)
    assert sweep.returncode == 0, errors
    return terminals


@pytest.mark.parametrize("size", SIZES)
def test_a_sweep_is_watched_to_its_end(watched: dict[str, PseudoTerminal], size: str) -> None:
    terminal = watched[size]
    assert terminal.process.exitstatus == 0
    assert re.search(r"^run: done$", terminal.screens[-1], flags=re.MULTILINE)
    assert f"100%, {N_TRIALS} of {N_TRIALS} trials" in terminal.screens[-1]
    assert re.search(r"Test +Weighted average precision on .*: 0\.", terminal.screens[-1])


@pytest.mark.parametrize("size", SIZES)
def test_all_that_matters_is_on_the_screen(watched: dict[str, PseudoTerminal], size: str) -> None:
    parts = {
        "budget bar": rf"Budget [━╸]+ *\| \d+%, \d+ of {N_TRIALS} trials",
        "best": r"Best +0\.\d{4}, trial \d+",
        "sparkline": "[▁▂▃▄▅▆▇█]{10}",
        "pace": r"\d\.\d trials/min, \d+% pruned, 0 failed, \d+ running",
        "time left": r"Left +.* s, with 90% certainty \d+ .* to \d+ .*",
        "running trials": r"#\d+ +\d+ +0\.\d{4} .* worker-[01]",
        "workers by node": r"Node +workers +busy.*\n\S+ +2 +\d+% ",
    }
    for name, part in parts.items():
        assert any(re.search(part, screen) for screen in watched[size].screens), name


@pytest.mark.parametrize("size", SIZES)
def test_no_line_is_wrapped_or_longer_than_the_screen(
    watched: dict[str, PseudoTerminal], size: str
) -> None:
    columns, lines = SIZES[size]
    full = [screen for screen in watched[size].screens if "Pace" in screen]
    assert full
    for screen in full:
        assert screen.startswith("run: "), "nothing has scrolled away"
        assert screen.count("\n") < lines
        assert max(map(len, screen.splitlines())) <= columns


@pytest.mark.parametrize("size", SIZES)
def test_it_changes_as_trials_finish(watched: dict[str, PseudoTerminal], size: str) -> None:
    said = re.findall(rf"(\d+) of {N_TRIALS} trials", "\n".join(watched[size].screens))
    counts = list(map(int, said))
    assert counts == sorted(counts)
    assert len(set(counts)) >= 4


def test_colour_is_left_out_where_it_is_not_wanted(watched: dict[str, PseudoTerminal]) -> None:
    assert not COLOUR.search(watched["small"].raw)
    assert COLOUR.search(watched["large"].raw)


def test_ctrl_c_ends_the_watching_and_nothing_else(watched: dict[str, PseudoTerminal]) -> None:
    terminal = watched["interrupted"]
    assert terminal.process.exitstatus == 0
    assert "run: searching" in terminal.screens[-1]
    assert "Stopped" not in terminal.screens[-1]


def test_where_there_is_no_terminal_plain_lines_are_printed(
    tagsweep: Tagsweep, finished: FinishedRun
) -> None:
    shown = tagsweep("status", finished.folder, "--watch").stdout
    assert shown.rstrip("\n") == tagsweep("status", finished.folder).stdout.rstrip("\n")
    assert "--json" in tagsweep("status", finished.folder, "--watch", "--json", code=2).stderr
