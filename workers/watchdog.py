"""End what a driver that died has left of its Ray; run as a program, beside the driver.

Ray's agents only leave once they have tried, for more than a minute, to tell a server that is gone.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

GRACE_S = 5.0
"""How long a session's processes get to leave by themselves once their driver is gone."""
POLL_S = 0.2
"""How often those are looked for that have not left."""


@contextmanager
def watching(session: Path) -> Iterator[None]:
    """Have a process end what is left of a Ray session, when the block has ended or we are dead."""
    command = [sys.executable, "-I", __file__, str(session)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(  # noqa: S603  our own arguments
        command,
        cwd="/",
        stdin=subprocess.PIPE,  # which the kernel closes for us, however we die
        stdout=quiet,
        stderr=quiet,
        start_new_session=True,  # Ctrl-C and a lost terminal are for the driver
    ):
        yield


def watch(session: Path) -> None:
    """Wait for the end of standard input; then end those of the session that stay."""
    sys.stdin.buffer.read()
    deadline = time.monotonic() + GRACE_S
    while left := processes_of(session):
        if time.monotonic() > deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def processes_of(session: Path) -> list[int]:
    """Return the ids of a session's processes: those that write a `.out` file among its logs.

    Ray overwrites the command lines and environments of some; whoever reads logs is none of them.
    """
    logs, found = f"{os.path.realpath(session)}/logs/", []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if any(_is_written(file, logs) for file in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found


def _is_written(file: Path, logs: str) -> bool:
    name = str(file.readlink())
    if not (name.startswith(logs) and name.endswith(".out")):
        return False
    info = (file.parent.parent / "fdinfo" / file.name).read_text()
    return int(info.split("flags:")[1].split()[0], 8) & os.O_ACCMODE != os.O_RDONLY


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
