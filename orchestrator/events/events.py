"""Keep a run's log for machines: what happened, one JSON object a line."""

import fcntl
import json
import logging
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO, Concatenate, ParamSpec, TypeVar

from rich.console import Console

from orchestrator.events.prometheus import Exposition, served
from orchestrator.runs.run import Run
from shared.versions import versions

Event = dict[str, Any]
"""What happened: `time` (UTC, ISO 8601, of writing), `event`, `study`, and what else is known."""

TAIL_BYTES = 16_384
"""What of the file is read for the last event."""

Result = TypeVar("Result")
More = ParamSpec("More")

logger = logging.getLogger(__name__)


class Events:
    """Append events to a file, and count them for whoever asks for figures.

    Processes may share the file. A line that a killed one has left unfinished means nothing, and
    harms no other. An event that cannot be written ends nothing: there is a warning, once.
    """

    def __init__(self, path: Path, study: str, exposition: Exposition) -> None:
        """Write nothing yet."""
        self.exposition = exposition
        self._path, self._study = path, study
        self._read_to = 0
        # The numbers of trials by event and study: as sets of numbers they take little memory.
        self._known: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        self._has_warned = False

    def write(self, event: str, **fields: Any) -> None:
        """Write an event; its fields are plain values, and no secrets."""
        self._append([self._event(event, fields)])

    def write_trials(self, events: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Write events by name and fields, each about the trial with its `number`.

        What the file says of a trial already, whoever wrote it, is not written again.
        """
        self._append([self._event(name, fields) for name, fields in events])

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Write that a stage starts, and then how it ended."""
        self.write("stage_started", stage=name)
        with self.until_end("stage_ended", stage=name):
            yield

    @contextmanager
    def until_end(self, event: str, **fields: Any) -> Iterator[None]:
        """Write how the block ended, as `how` (done, stopped or failed), and after how long."""
        started_s = time.monotonic()
        how = {"how": "done"}
        try:
            yield
        except KeyboardInterrupt:
            how = {"how": "stopped"}
            raise
        except BaseException as error:
            message = " ".join(str(error).split())
            how = {"how": "failed", "error": type(error).__name__, "message": message}
            raise
        finally:
            self.write(event, **fields, seconds=round(time.monotonic() - started_s, 3), **how)

    def _event(self, name: str, fields: dict[str, Any]) -> Event:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return {"time": now, "event": name, "study": self._study} | {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in fields.items()
        }

    def _append(self, events: list[Event]) -> None:
        for event in events:
            self.exposition.count(event)
        if not events:
            return
        try:
            with self._path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                is_torn = self._catch_up(file)
                new = [event for event in events if not self._is_known(event)]
                lines = "".join(json.dumps(event) + "\n" for event in new)
                file.write(b"\n" * (is_torn and bool(new)) + lines.encode())
                file.flush()
                self._catch_up(file)
        except OSError as error:
            if not self._has_warned:
                logger.warning("Events of this run are lost: %s", error)
            self._has_warned = True

    def _catch_up(self, file: BinaryIO) -> bool:
        """Learn what is new in the file; return whether its last line is unfinished."""
        file.seek(self._read_to)
        for line in file:
            if not line.endswith(b"\n"):
                return True
            self._read_to += len(line)
            event = _parse(line)
            if "number" in event:
                self._known[event["event"], event["study"]].add(event["number"])
        return False

    def _is_known(self, event: Event) -> bool:
        """Say whether the file has this of a trial already: it can have but one."""
        return event.get("number") in self._known[event["event"], event["study"]]


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a run, oldest first, without unfinished lines."""
    with path.open("rb") as file:
        yield from filter(None, map(_parse, file))


def read_failure(path: Path) -> str | None:
    """Return why the last command on a run failed; None where it did not, or is still at work."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            last = [event for line in file.readlines() if (event := _parse(line))][-1:]
    except FileNotFoundError:
        return None
    failed = [event["message"] for event in last if event.get("how") == "failed"]
    return failed[0] if failed else None


@contextmanager
def recording(run: Run) -> Iterator[Events]:
    """Keep the events of a run for as long as the block lasts, its start and end among them.

    If the configuration says so, its figures are served meanwhile. Raises InputError when they
    cannot be.
    """
    run.paths.root.mkdir(parents=True, exist_ok=True)
    budget = run.config.study.model_dump(include={"n_trials", "timeout_s", "target_value"})
    exposition = Exposition(run.study_name, run.config.study.n_trials)
    events = Events(run.paths.events, run.study_name, exposition)
    with served(exposition, run.config.watch):
        events.write("run_started", versions=dict(versions()), **budget)
        with events.until_end("run_ended"):
            yield events


def recorded(
    stages: Callable[Concatenate[Run, Console, Events, More], Result],
) -> Callable[Concatenate[Run, Console, More], Result]:
    """Have a function keep the events of a run, which it gets as its third argument."""

    @wraps(stages)
    def record(run: Run, console: Console, /, *args: More.args, **kwargs: More.kwargs) -> Result:
        with recording(run) as events:
            return stages(run, console, events, *args, **kwargs)

    return record


def _parse(line: bytes) -> Event:
    """Read a line; one that is not whole says nothing."""
    try:
        event: Event = json.loads(line)
    except ValueError:
        return {}
    return event
