"""Keep the PostgreSQL of one data folder: start it as a child, and stop it after its last user.

It is run as a file and needs the standard library only, so that no directory decides which code it
runs. It inherits the exclusive lock on the folder's `keeper` file, and its server inherits it too:
while any process of either lives, in whatever container, nobody else can have the lock.
It leaves with its server. A user that finds the lock free starts another keeper.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

POLL_S = 0.1
"""How soon the keeper notices that the last user has left."""
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


def try_lock(descriptor: int) -> bool:
    """Lock an open file for us alone, and return whether that was possible at once."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_path(folder: Path, kind: str) -> Path:
    """Name a lock file: `keeper`, `users`, or `lock`, under which who comes and goes is looked at.

    They lie beside the data folder, are never removed, and hold nothing of the study.
    """
    return folder.with_name(f"{folder.name}.{kind}")


def _keep(folder: Path, postgres: str, lock: int) -> None:
    """Wait for the server's end, or for that of its users, and stop it then."""
    door = [os.open(lock_path(folder, kind), os.O_RDWR) for kind in ("lock", "users")]
    server = _start(folder, postgres, lock)
    is_ready = False
    while server.poll() is None:
        if _is_left(*door):
            _stop(server)
            return
        if not is_ready and (is_ready := _is_ready(folder)):
            _tell(folder)
        time.sleep(POLL_S if is_ready else POLL_S / 10)
    if not is_ready:
        sys.exit(f"PostgreSQL ended with {server.returncode} before it was ready")


def _start(folder: Path, postgres: str, lock: int) -> subprocess.Popen[bytes]:
    """Start the server, as the folder's owner where we are root."""
    for name in STALE:
        (folder / name).unlink(missing_ok=True)
    owner = folder.stat()
    is_root = os.geteuid() == 0
    keeper = os.getpid()
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603  our own arguments
            [postgres, "-D", folder],
            cwd=folder,
            user=owner.st_uid if is_root else None,
            group=owner.st_gid if is_root else None,
            extra_groups=[] if is_root else None,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            preexec_fn=lambda: _end_with(keeper),  # noqa: PLW1509  there are no threads here
        )


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


def _is_left(lock: int, users: int) -> bool:
    """Say whether no user is there; if so, both files stay locked for as long as we live."""
    if not try_lock(lock):
        return False
    if try_lock(users):
        return True
    fcntl.flock(lock, fcntl.LOCK_UN)
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGQUIT)
        server.wait()


if __name__ == "__main__":
    main()
