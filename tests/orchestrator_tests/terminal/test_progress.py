import io
import logging

import pytest
from rich.console import Console

from orchestrator.terminal.progress import show_lines, show_progress, show_wait, with_rate


def _shown(*, terminal: bool, quiet: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, quiet=quiet, width=100)
    with show_progress(console, "Search", 3) as update:
        for done in (0, 1, 2, 3, 3):
            update(done, f"detail {done}")
    return file.getvalue()


def test_lines_are_few_and_the_last_comes_once() -> None:
    assert _shown(terminal=False).splitlines() == ["Search: 0/3 detail 0", "Search: 3/3 detail 3"]


def test_a_terminal_gets_a_bar() -> None:
    shown = _shown(terminal=True)
    assert "Search" in shown
    assert "3/3" in shown
    assert "━" in shown


def test_quiet_is_silent() -> None:
    assert _shown(terminal=True, quiet=True) == ""


def test_a_rate_counts_what_was_done_since_the_start() -> None:
    seen: list[tuple[int, str]] = []
    show = with_rate(lambda done, detail: seen.append((done, detail)), "texts")
    show(100, 200)
    show(100, 200)
    show(150, 200)
    assert seen[:2] == [(100, "0 texts/s"), (100, "0 texts/s")]
    assert seen[2][0] == 150
    assert float(seen[2][1].split()[0]) > 0


def test_what_is_waited_for_is_said_and_on_a_terminal_goes_again() -> None:
    shown = {}
    for is_terminal in (False, True):
        file = io.StringIO()
        with show_wait(Console(file=file, force_terminal=is_terminal, width=80), "Starting Ray"):
            pass
        shown[is_terminal] = file.getvalue()
    assert shown[False] == "Starting Ray ...\n"
    assert "Starting Ray ..." in shown[True]
    assert shown[True].endswith("\x1b[2K"), "the line is erased"


def test_lines_are_in_the_log_too(caplog: pytest.LogCaptureFixture) -> None:
    file = io.StringIO()
    with caplog.at_level(logging.INFO):
        show_lines(Console(file=file), ["Labels  2: [a] 3"])
    assert file.getvalue() == "Labels  2: [a] 3\n"
    assert "Labels  2: [a] 3" in caplog.text
