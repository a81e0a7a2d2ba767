"""Lay out a status for a terminal, in as much detail as its size allows."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.console import Group, JustifyMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.stage import Stage
from orchestrator.status.forecast import CONFIDENCE
from orchestrator.status.nodes import NodeStatus
from orchestrator.status.sparkline import BLOCKS, PLAIN_BLOCKS, best_so_far, spark
from orchestrator.status.status import Status, describe_budget, describe_ensemble, describe_stage
from orchestrator.status.study_reader import RunningTrial
from orchestrator.terminal.words import describe_s, say_values

WIDE = 120
"""The width from which on less important columns are shown too."""
TALL = 40
"""The height from which on there is room for more failures."""
FEW_FAILURES = 2
MANY_FAILURES = 10
INDENT = 7
"""Where what is beside a title begins."""
Row = tuple[str, ...]


class Column(NamedTuple):
    """Name a column, say whether numbers stand in it, and whether it needs a wide screen."""

    title: str
    is_number: bool = True
    is_extra: bool = False


RUNNING = (
    Column("Running", is_number=False),
    Column("epoch"),
    Column("value"),
    Column("seen"),
    Column("for"),
    Column("worker", is_number=False),
    Column("node", is_number=False),
    Column("last sign", is_extra=True),
)
NODES = (
    Column("Node", is_number=False),
    Column("workers"),
    Column("busy"),
    Column("training"),
    Column("starting"),
    Column("last sign"),
)


@dataclass(frozen=True)
class Screen:
    """Hold a terminal's size, in characters, and the encoding of what it shows."""

    width: int
    height: int
    encoding: str

    @property
    def is_unicode(self) -> bool:
        """Whether it shows any character."""
        return self.encoding.lower().startswith("utf")

    @property
    def is_wide(self) -> bool:
        """Whether there is room for more than the usual."""
        return self.width >= WIDE


def view(status: Status, screen: Screen, away_s: float | None = None) -> RenderableType:
    """Return what fits on the screen, one line of it left free, for the cursor.

    `away_s` is how long the database has been away, None while it is not: what is known stays.
    """
    head = _head(status, screen, away_s)
    failures = status.failures[: MANY_FAILURES if screen.height >= TALL else FEW_FAILURES]
    n_free = screen.height - 1 - len(head) - (2 + len(failures) if failures else 0)
    n_nodes = min(len(status.nodes), max(2, n_free // 3 - 2))
    n_running = n_free - 2 - (2 + n_nodes if status.nodes else 0)
    parts: list[RenderableType] = [*head]
    if status.running_trials:
        rows = [_running_row(trial) for trial in status.running_trials]
        parts += ["", _table(RUNNING, _cut(rows, n_running), screen)]
    if status.nodes:
        rows = [_node_row(node) for node in status.nodes]
        parts += ["", _table(NODES, _cut(rows, n_nodes), screen)]
    if failures:
        parts += ["", Text("Failed last", style="bold")]
        parts += [_line(f"#{one.trial} {one.reason}", screen, style="red") for one in failures]
    return Group(*parts)


def _head(status: Status, screen: Screen, away_s: float | None) -> list[RenderableType]:
    title = f"{status.study}: {describe_stage(status)}"
    if away_s is not None:
        title = f"{status.study}: the database has been away for {describe_s(away_s)}; as before:"
    best = "none yet"
    if status.best_value is not None:
        said = say_values(status.objectives, status.best_values)
        best = f"{said}, trial {status.improvements[-1].trial}"
    if status.pareto_front:
        best += f" of {len(status.pareto_front)} on the Pareto front"
    rate = "" if status.prune_rate is None else f"{status.prune_rate:.0%} pruned, "
    pace = (
        f"{status.trials_per_min:.1f} trials/min, {rate}{status.failed} failed,"
        f" {status.running} running, {status.waiting} to run again"
    )
    lines = [
        _line(title, screen, style="bold yellow" if away_s is not None else "bold"),
        _bar(status, screen),
        _line(f"Best   {best}", screen, style="green"),
        _line(f"       {_trend(status, screen)}", screen),
        _line(f"Pace   {pace}", screen),
    ]
    if status.stage is Stage.SEARCH:
        lines.append(_line(f"Left   {_left(status)}", screen))
    if status.ensemble is not None:
        lines.append(_line(f"Made   {describe_ensemble(status.ensemble)}", screen))
    if status.failure is not None:
        lines.append(_line(f"Ended  failed: {status.failure}", screen, style="red"))
    if screen.is_wide and status.best_params:
        params = ", ".join(_describe_param(*param) for param in status.best_params.items())
        lines.insert(4, _line(f"       {params}", screen))
    if screen.is_wide:
        lines.append(_line(f"From   {status.storage}", screen))
    if status.stage is Stage.DONE:
        lines += _folded("Test", status.headline, screen)
    return lines


def _bar(status: Status, screen: Screen) -> RenderableType:
    share = min(1.0, status.finished / status.budget)
    row = Table.grid(padding=0)
    said = f" {share:.0%}, {describe_budget(status)} trials"
    row.add_column(no_wrap=True)
    row.add_column(width=max(1, screen.width - len(said) - 9))
    row.add_column(no_wrap=True)
    bar = ProgressBar(status.budget, min(status.finished, status.budget))
    row.add_row("Budget ", bar, Text(f"|{said}"))
    return row


def _trend(status: Status, screen: Screen) -> str:
    if not status.improvements:
        return ""
    first = f"{status.improvements[0].value:.4f} "
    n_points = max(1, screen.width - 7 - len(first))
    values = best_so_far(status.improvements, status.finished, n_points)
    return first + spark(values, BLOCKS if screen.is_unicode else PLAIN_BLOCKS)


def _describe_param(name: str, value: Any) -> str:
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def _left(status: Status) -> str:
    if status.seconds_left is None:
        return "unknown before a trial has finished"
    if status.seconds_left_range is None:
        return f"{describe_s(status.seconds_left)}, roughly: few trials have finished"
    least_s, most_s = status.seconds_left_range
    between = f"{describe_s(least_s)} to {describe_s(most_s)}"
    return f"{describe_s(status.seconds_left)}, with {CONFIDENCE:.0%} certainty {between}"


def _running_row(trial: RunningTrial) -> Row:
    age = "" if trial.value_age_s is None else f"{describe_s(trial.value_age_s)} ago"
    return (
        f"#{trial.trial}",
        _epoch(trial),
        "-" if trial.value is None else f"{trial.value:.4f}",
        age,
        describe_s(trial.running_s),
        trial.worker,
        trial.node,
        describe_s(trial.silent_s),
    )


def _epoch(trial: RunningTrial) -> str:
    """Say how far a trial is; of its later folds no epoch is known."""
    if trial.folds:
        return f"fold {trial.folds + 1}"
    return "-" if trial.step is None else str(trial.step + 1)


def _node_row(node: NodeStatus) -> Row:
    return (
        node.node,
        str(node.workers),
        f"{node.utilisation:.0%}",
        str(node.training),
        str(node.starting),
        describe_s(node.silent_s),
    )


def _cut(rows: list[Row], n: int) -> list[Row]:
    """Return `n` rows at most, of which the last says how many more there are."""
    if len(rows) <= n:
        return rows
    kept = rows[: max(0, n - 1)]
    return [*kept, (f"+{len(rows) - len(kept)}", *[""] * (len(rows[0]) - 1))]


def _table(columns: Sequence[Column], rows: list[Row], screen: Screen) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    shown = [i for i, column in enumerate(columns) if screen.is_wide or not column.is_extra]
    for i in shown:
        justify: JustifyMethod = "right" if columns[i].is_number else "left"
        # Where there is too little room, names become shorter, and numbers do not.
        table.add_column(
            columns[i].title, justify=justify, no_wrap=columns[i].is_number, overflow="crop"
        )
    for row in rows:
        table.add_row(*(Text(_clean(row[i], screen)) for i in shown))
    return table


def _folded(title: str, texts: Sequence[str], screen: Screen) -> list[Text]:
    """Return texts beside their title, each in as many lines as it needs."""
    width = max(1, screen.width - INDENT)
    parts = [part for text in texts for part in textwrap.wrap(text, width)]
    return [
        _line(f"{title if i == 0 else '':<{INDENT}}{part}", screen) for i, part in enumerate(parts)
    ]


def _line(said: str, screen: Screen, style: str = "") -> Text:
    """Return a single line, shortened to the screen's width."""
    line = Text(_clean(" ".join(said.splitlines()), screen), style=style, no_wrap=True)
    if line.cell_len > screen.width:
        line.truncate(screen.width - 3, overflow="crop")
        line.append("...")
    return line


def _clean(said: str, screen: Screen) -> str:
    """Replace what the screen's encoding does not have, and control characters."""
    printable = "".join(c if c.isprintable() else " " for c in said)
    return printable.encode(screen.encoding, "replace").decode(screen.encoding)
