"""Keep the PostgreSQL of one data folder running, as a process of its own.

It is run as a file and needs the standard library only, so that no directory decides which code it
runs. It inherits the exclusive lock on the folder's `keeper` file, and its server inherits it too:
while any process of either lives, in whatever container, nobody else can have the lock.
"""

import ctypes
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

POLL_S = 0.1
"""How soon the keeper notices that the last user has left."""
FIRST_DELAY_S = 0.1
LAST_DELAY_S = 5.0
"""Between two starts of a server that ends again and again, as on a full disk."""
STOP_TIMEOUT_S = 60
"""How long a server may take to stop in order before it is made to."""
STALE = ("postmaster.pid", ".s.PGSQL.5432.lock")
"""PostgreSQL refuses to start while any process has the numbers that these files name."""
READY = "ready\n"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def main() -> None:
    """Become a daemon, say when the server is ready, and keep it until its last user has left."""
    folder, postgres, lock = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if os.fork():
        os._exit(0)
    try:
        _keep(folder, postgres, lock)
    finally:
        os.ftruncate(lock, 0)  # what says for people where the server runs


def try_lock(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file, and return whether that was possible at once."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_path(folder: Path, kind: str) -> Path:
    """Name a lock file: `keeper`, `users`, or `lock`, under which who comes and goes is looked at.

    They lie beside the data folder, are never removed, and hold nothing of the study.
    """
    return folder.with_name(f"{folder.name}.{kind}")


def _keep(folder: Path, postgres: str, lock: int) -> None:
    """Start the server again whenever it ends; exit if it ends before it was ever ready."""
    door = [os.open(lock_path(folder, kind), os.O_RDWR) for kind in ("lock", "users")]
    delay_s, was_ready = FIRST_DELAY_S, False
    while True:
        server, end = _start(folder, postgres, lock)
        started = time.monotonic()
        while not was_ready and not select.select([end], [], [], POLL_S / 10)[0]:
            if was_ready := _is_ready(folder):
                _tell(folder)
            elif _is_left(*door):
                break
        if _waits(door, [end]):
            _stop(server, end)
            return
        os.close(end)
        if not was_ready:
            sys.exit(f"PostgreSQL ended with {server.wait()} before it was ready")
        server.wait()
        lived_s = time.monotonic() - started
        delay_s = FIRST_DELAY_S if lived_s > LAST_DELAY_S else min(2 * delay_s, LAST_DELAY_S)
        if _waits(door, [], delay_s):
            return


def _start(folder: Path, postgres: str, lock: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server; return it and what becomes readable when no process of it is left."""
    for name in STALE:
        (folder / name).unlink(missing_ok=True)
    owner = folder.stat()
    is_root = os.geteuid() == 0
    keeper = os.getpid()
    end, held = os.pipe()
    try:
        with (folder / "log").open("ab") as log:
            server = subprocess.Popen(  # noqa: S603  our own arguments
                [postgres, "-D", folder],
                cwd=folder,
                user=owner.st_uid if is_root else None,
                group=owner.st_gid if is_root else None,
                extra_groups=[] if is_root else None,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock, held),
                preexec_fn=lambda: _end_with(keeper),  # noqa: PLW1509  there are no threads here
            )
    finally:
        os.close(held)
    return server, end


def _end_with(keeper: int) -> None:
    """Let the kernel stop this process, which becomes the server, when its keeper has died."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != keeper:
        os._exit(1)


def _is_ready(folder: Path) -> bool:
    """Say whether the server takes connections, which it writes into the eighth line."""
    try:
        lines = (folder / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004


def _tell(folder: Path) -> None:
    """Tell who started us, which may be gone by now; errors of our own go to the log from here."""
    with suppress(BrokenPipeError):
        os.write(1, READY.encode())
    for path, descriptor in ((Path(os.devnull), 1), (folder / "log", 2)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), descriptor)


def _waits(door: list[int], end: list[int], limit_s: float = float("inf")) -> bool:
    """Wait for the server's end or the limit; return True as soon as no user is there."""
    deadline = time.monotonic() + limit_s
    while not _is_left(*door):
        if time.monotonic() > deadline or select.select(end, [], [], POLL_S)[0]:
            return False
    return True


def _is_left(lock: int, users: int) -> bool:
    """Say whether no user is there; if so, both files stay locked for as long as we live."""
    if not try_lock(lock):
        return False
    if try_lock(users):
        return True
    fcntl.flock(lock, fcntl.LOCK_UN)
    return False


def _stop(server: subprocess.Popen[bytes], end: int) -> None:
    server.send_signal(signal.SIGINT)
    if not select.select([end], [], [], STOP_TIMEOUT_S)[0]:
        server.send_signal(signal.SIGQUIT)
        select.select([end], [], [])
    server.wait()


if __name__ == "__main__":
    main()
