"""Meet the user: exit codes, one line an error, the log file and the console."""

import importlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO, cast

import typer
from rich.console import Console

from orchestrator.terminal.signals import on_leaving
from shared.errors import TagsweepError
from shared.gpu_memory import bound_memory

STOPPED = 3
"""The exit code of a command that a signal stopped; the same command goes on from there."""

logger = logging.getLogger(__name__)


class LogLevel(StrEnum):
    """Name how much of the log is shown on the terminal too."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what ends a command into one line and an exit code; signals to leave count as Ctrl-C."""
    on_leaving(signal.default_int_handler)
    with redirect_stderr(cast("TextIO", _Audience(sys.stderr))), _one_line_an_ending():
        yield


@contextmanager
def _one_line_an_ending() -> Iterator[None]:
    try:
        yield
    except TagsweepError as error:
        logger.info("The command failed", exc_info=error)
        _say(f"Error: {error}")
        raise typer.Exit(error.exit_code) from None
    except (KeyboardInterrupt, typer.Abort):  # the latter of Ctrl-C and Ctrl-D at a prompt
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would end Python by the signal
        _say("Stopped. Run the same command again to go on.")
        raise typer.Exit(STOPPED) from None
    except BrokenPipeError:
        # The reader of our output has left (`| head`): nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except OSError as error:
        logger.info("The command failed", exc_info=error)
        place = "" if error.filename is None else f"{error.filename}: "
        _say(f"Error: {place}{error.strerror or error}")
        raise typer.Exit(1) from None
    except Exception as error:
        logger.info("The command met an error of its own", exc_info=error)
        _say(f"Error: this is a bug in tagsweep, please report it: {type(error).__name__}: {error}")
        raise typer.Exit(1) from None


class _Audience:
    """Standard error as long as somebody reads it: a closed pipe or a lost terminal ends no work.

    The first write that fails makes all later ones go nowhere, those of libraries too.
    """

    def __init__(self, stream: TextIO | None) -> None:
        # `2>&-` leaves no stream, and its number to the next file that is opened: be that file.
        self._stream = stream or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._falling_silent():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._falling_silent():
            self._stream.flush()

    @contextmanager
    def _falling_silent(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class _WithoutTraceback(logging.Formatter):
    """Say what happened; where it came from stands in the log file."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname}: {record.getMessage()}"


def open_terminal(log: Path | None, level: LogLevel, *, quiet: bool) -> Console:
    """Start logging to the run's log file, if there is a run, and from `level` on to the terminal.

    Returns the console for progress; results go to standard output, all else to standard error.
    """
    console = Console(stderr=True, quiet=quiet)
    to_terminal = logging.StreamHandler()
    to_terminal.setLevel(level.value.upper())
    to_terminal.setFormatter(_WithoutTraceback())
    handlers: list[logging.Handler] = [to_terminal]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        to_file = logging.FileHandler(log, encoding="utf-8")
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append(to_file)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.captureWarnings(capture=True)
    _quiet_libraries()
    return console


def _quiet_libraries() -> None:
    """Leave what libraries only want to mention out of log and terminal."""
    import optuna

    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for chatty in ("choreographer", "kaleido"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It warns of each of its tries to reach the hub, and reads this when it is imported.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")


def _say(line: str) -> None:
    typer.echo(" ".join(line.split()), err=True)


def quiet_keras() -> None:
    """Import Keras and its backend without what native code prints before any log level counts.

    Of a GPU they take what they need, not all of it: encoders and other processes need some too.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    bound_memory(0)
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        importlib.import_module("keras")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
