"""Show a run's status for as long as it lasts: live on a terminal, as lines elsewhere."""

import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.live import Live
from rich.text import Text

from orchestrator.runs.run import Run
from orchestrator.stage import Stage
from orchestrator.status.status import Status, describe_status, opened_status
from orchestrator.status.view import Screen, view
from orchestrator.terminal.progress import LINE_EVERY_S
from orchestrator.terminal.words import describe_s
from shared.errors import InputError
from shared.study.patience import is_outage

REFRESH_S = 1.0
"""How often what is new is read and shown on a terminal."""

Reading = tuple[Status, float | None]
"""The latest status, and how long the database has been away since, in seconds."""


def watch(run: Run, console: Console) -> None:
    """Show the run's status until it is done, or Ctrl-C: the last view stays on the screen.

    The embedded database is kept running for as long. Raises TagsweepError while there is no study
    yet, InputError for a run whose study is out of reach.
    """
    if run.storage_url is None and run.paths.job.exists():
        raise InputError(
            f"{run.paths.root} was launched on a cluster, where its study is out of reach. Name the"
            " study's server with --storage to watch it, or follow the job with `tagsweep logs`."
        )
    is_screen = console.is_terminal and not console.is_dumb_terminal
    show = _show_live if is_screen else _show_lines
    with opened_status(run) as read:
        try:
            every_s = REFRESH_S if is_screen else LINE_EVERY_S
            show(console, readings(read, lambda status: is_over(run, status), every_s))
        except KeyboardInterrupt:
            return  # it is how watching ends; nothing is left to go on with


def is_over(run: Run, status: Status) -> bool:
    """Say whether no more is to be seen; a launched run's ensemble is made where its job runs."""
    is_search_over = status.stage is not Stage.SEARCH and not status.is_driven
    return status.stage is Stage.DONE or (is_search_over and run.paths.job.exists())


def readings(
    read: Callable[[], Status], is_last: Callable[[Status], bool], every_s: float
) -> Iterator[Reading]:
    """Yield the status again and again, up to the one that is the last.

    While the database is away, it is the one known before. Raises what the first reading raises.
    """
    status, read_s = read(), time.monotonic()
    away_s: float | None = None
    while True:
        yield status, away_s
        if is_last(status):
            return
        time.sleep(every_s)
        try:
            status, read_s, away_s = read(), time.monotonic(), None
        except Exception as error:
            if not is_outage(error):
                raise
            away_s = time.monotonic() - read_s


def _show_live(console: Console, found: Iterator[Reading]) -> None:
    with Live(console=console, auto_refresh=False) as live:
        for status, away_s in found:
            screen = Screen(console.width, console.height, console.encoding)
            live.update(view(status, screen, away_s), refresh=True)


def _show_lines(console: Console, found: Iterator[Reading]) -> None:
    for status, away_s in found:
        if away_s is None:
            lines = describe_status(status)
        else:
            lines = f"The database has been away for {describe_s(away_s)}."
        console.print(Text(lines + "\n"), soft_wrap=True)
