import logging
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from orchestrator.terminal import LogLevel, exit_codes, open_terminal
from shared.errors import InputError, TagsweepError


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    signal.signal(signal.SIGTERM, handler)
    logging.captureWarnings(capture=False)
    for added in set(root.handlers) - set(handlers):
        added.close()
    root.level, root.handlers = level, handlers


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("row 3\nis bad"), 2, "Error: row 3 is bad\n"),
        (TagsweepError("no server"), 1, "Error: no server\n"),
        (PermissionError(13, "Permission denied", "out.csv"), 1, "Error: .*denied: 'out.csv'\n"),
        (KeyboardInterrupt(), 3, "Stopped. Run the same command again to go on.\n"),
        (ValueError("x"), 1, "Error: this is a bug in tagsweep, .*: ValueError: x\n"),
    ],
)
def test_an_ending_is_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as exited, exit_codes():
        raise error
    assert exited.value.exit_code == code
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert re.fullmatch(line, shown)


def test_sigterm_stops_as_ctrl_c_does() -> None:
    with pytest.raises(typer.Exit) as exited, exit_codes():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert exited.value.exit_code == 3


def test_the_log_file_has_what_the_terminal_hides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = open_terminal(tmp_path / "run" / "tagsweep.log", LogLevel.WARNING, quiet=True)
    logging.getLogger("orchestrator").info("a detail")
    logging.getLogger("orchestrator").warning("a warning")
    log = (tmp_path / "run" / "tagsweep.log").read_text()
    assert "INFO orchestrator: a detail" in log
    assert capsys.readouterr().err == "WARNING: a warning\n"
    assert console.quiet


def test_a_traceback_stands_in_the_log_and_not_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_terminal(tmp_path / "tagsweep.log", LogLevel.WARNING, quiet=True)
    with pytest.raises(typer.Exit), exit_codes():
        raise ValueError("x")
    try:
        {}["y"]
    except KeyError:
        logging.getLogger("workers").exception("a trial failed")
    log = (tmp_path / "tagsweep.log").read_text()
    assert log.count("Traceback") == 2
    bug, failed = capsys.readouterr().err.splitlines()
    assert bug.startswith("Error: this is a bug in tagsweep")
    assert failed == "ERROR: a trial failed"


def test_a_command_without_a_run_shows_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    open_terminal(None, LogLevel.WARNING, quiet=True)
    logging.getLogger("workers").info("a detail")
    logging.getLogger("workers").warning("a warning")
    assert capsys.readouterr().err == "WARNING: a warning\n"
