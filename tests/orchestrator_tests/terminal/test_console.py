import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from orchestrator.terminal.console import LogLevel, exit_codes, open_terminal
from orchestrator.terminal.signals import LEAVE
from shared.errors import InputError, TagsweepError


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in LEAVE}
    root = logging.getLogger()
    level, before = root.level, root.handlers[:]
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    logging.captureWarnings(capture=False)
    for added in set(root.handlers) - set(before):
        added.close()
    root.level, root.handlers = level, before


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("row 3\nis bad"), 2, "Error: row 3 is bad\n"),
        (TagsweepError("no server"), 1, "Error: no server\n"),
        (
            PermissionError(13, "Permission denied", "out.csv"),
            1,
            "Error: out.csv: Permission denied\n",
        ),
        (KeyboardInterrupt(), 3, "Stopped. Run the same command again to go on.\n"),
        (typer.Abort(), 3, "Stopped. Run the same command again to go on.\n"),
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_stop_as_ctrl_c_does(number: signal.Signals) -> None:
    with pytest.raises(typer.Exit) as exited, exit_codes():
        os.kill(os.getpid(), number)
        signal.pause()
    assert exited.value.exit_code == 3


def test_a_second_ctrl_c_leaves_the_exit_code_as_it_is() -> None:
    with pytest.raises(typer.Exit) as exited, exit_codes():
        raise KeyboardInterrupt
    os.kill(os.getpid(), signal.SIGINT)
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


RETRYING = """
import logging
from orchestrator.terminal.console import LogLevel, open_terminal
open_terminal(None, LogLevel.WARNING, quiet=True)
from huggingface_hub import hf_hub_download
logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
"""


def test_a_librarys_tries_to_reach_the_hub_are_not_told_one_by_one() -> None:
    done = subprocess.run([sys.executable, "-c", RETRYING], capture_output=True, check=True)
    assert done.stderr == b""


SPEAK = """
import logging, sys
from orchestrator.terminal.progress import show_progress
from orchestrator.terminal.console import LogLevel, exit_codes, open_terminal
with exit_codes():
    console = open_terminal(None, LogLevel.WARNING, quiet=False)
    with show_progress(console, "Search", 3) as update:
        for done in range(4):
            update(done, "trials")
            logging.warning("a warning")
    print("done")
raise SystemExit(4)
"""


def _speak_to(stderr: int | None) -> subprocess.CompletedProcess[str]:
    """Run a program that shows progress, warns and ends."""
    command = [sys.executable, "-c", SPEAK]
    if stderr is None:
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    environment = os.environ | {"COLUMNS": "100", "TERM": "xterm"}
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False, env=environment
    )


def _pipe_without_a_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def _lost_terminal() -> int:
    controller, terminal = os.openpty()
    os.close(controller)
    return terminal


def _full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("get", [_pipe_without_a_reader, _lost_terminal, _full_disk, lambda: None])
def test_nobody_who_reads_ends_nothing(get: Callable[[], int | None]) -> None:
    stderr = get()
    done = _speak_to(stderr)
    if stderr is not None:
        os.close(stderr)
    assert (done.returncode, done.stdout) == (4, "done\n")
