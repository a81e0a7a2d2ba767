"""Show how far a stage is: live bars on a terminal, plain lines elsewhere, nothing when quiet."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_EVERY_S = 5.0
"""How often a plain line is written at most."""

logger = logging.getLogger(__name__)

Update = Callable[[int, str], None]
"""Tell how much is done and what there is to say about it."""


@contextmanager
def show_progress(console: Console, title: str, total: int) -> Iterator[Update]:
    """Show one stage for as long as the block lasts; call what it yields as work gets done."""
    show = _quiet if console.quiet else _bar if console.is_terminal else _lines
    with show(console, title, total) as update:
        yield update


def show_lines(console: Console, lines: Iterable[str]) -> None:
    """Show what is worth knowing before a stage starts; the log has it too."""
    for line in lines:
        logger.info(line)
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def show_wait(console: Console, what: str) -> Iterator[None]:
    """Say what is waited for while the block lasts, and nothing else shows."""
    if console.is_terminal and not console.quiet:
        with console.status(f"{what} ..."):
            yield
    else:
        console.print(f"{what} ...", markup=False, highlight=False, soft_wrap=True)
        yield


def with_rate(update: Update, unit: str) -> Callable[[int, int], None]:
    """Turn `update` into a callback (done, total) that says how many units a second there are."""
    started_s = time.monotonic()
    before: int | None = None

    def show(done: int, total: int) -> None:  # noqa: ARG001  the bar knows the total
        nonlocal before
        before = done if before is None else before
        elapsed_s = time.monotonic() - started_s
        update(done, f"{(done - before) / elapsed_s:.0f} {unit}/s")

    return show


@contextmanager
def _bar(console: Console, title: str, total: int) -> Iterator[Update]:
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total, detail="")
        yield lambda done, detail: progress.update(task, completed=done, detail=detail)


@contextmanager
def _lines(console: Console, title: str, total: int) -> Iterator[Update]:
    last_s, last_done = -LINE_EVERY_S, -1

    def update(done: int, detail: str) -> None:
        nonlocal last_s, last_done
        is_end = done == total != last_done
        if not is_end and time.monotonic() - last_s < LINE_EVERY_S:
            return
        last_s, last_done = time.monotonic(), done
        line = f"{title}: {done}/{total} {detail}".rstrip()
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    yield update


@contextmanager
def _quiet(console: Console, title: str, total: int) -> Iterator[Update]:  # noqa: ARG001
    yield lambda _done, _detail: None
