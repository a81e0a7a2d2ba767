import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pexpect
import pyte

from tests.acceptance.commands import TAGSWEEP

COLOUR = re.compile(rb"\x1b\[[0-9;]*\b(?:3[0-8]|4[0-8]|9[0-7])[0-9;]*m")
SPARE = 40
"""Columns beyond the terminal's, in which a line that is too long for it would be seen."""


@dataclass
class PseudoTerminal:
    """Run the command on a terminal of this size, and keep each screen that it has shown."""

    arguments: tuple[object, ...]
    columns: int
    lines: int
    environment: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    screens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._screen = pyte.Screen(self.columns + SPARE, self.lines)
        self._stream = pyte.ByteStream(self._screen)
        unset = {"NO_COLOR", "COLUMNS", "LINES"}
        inherited = {name: value for name, value in os.environ.items() if name not in unset}
        self.process = pexpect.spawn(
            str(TAGSWEEP),
            [str(argument) for argument in self.arguments],
            dimensions=(self.lines, self.columns),
            env={**inherited, "TERM": "xterm-256color", **self.environment},
            cwd=str(Path.home()),
        )

    def take_in(self, timeout_s: float = 0.1) -> bool:
        """Take in what has been written meanwhile; return False once the command has ended."""
        try:
            new = self.process.read_nonblocking(1 << 16, timeout_s)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            self.process.close()
            return False
        self.raw += new
        self._stream.feed(new)
        shown = "\n".join(line.rstrip() for line in self._screen.display).rstrip()
        if not self.screens or shown != self.screens[-1]:
            self.screens.append(shown)
        return True
