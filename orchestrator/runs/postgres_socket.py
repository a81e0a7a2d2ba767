"""Find the socket of a run directory's PostgreSQL, which lies in its data folder.

The path of a Unix socket is short. Clients reach the one of a deep folder by a link of their own in
/tmp, whatever TMPDIR says; where the server listens does not depend on it.
"""

import hashlib
import os
import socket
from contextlib import suppress
from pathlib import Path

import psutil

from shared.errors import TagsweepError

SOCKET = ".s.PGSQL.5432"
MAX_FOLDER = 107 - len(f"/{SOCKET}")
"""The longest folder of a Unix socket, in bytes (unix(7))."""
LINKS = Path("/tmp")  # noqa: S108  whose link it is is looked at


def socket_folder(folder: Path) -> Path:
    """Return where clients find the socket: the data folder, or a link to it that is made.

    Raises TagsweepError where another user has something of the link's name.
    """
    is_list = "," in str(folder)  # as libpq reads a host
    if len(os.fsencode(folder)) <= MAX_FOLDER and not is_list:
        return folder
    link = _link(folder)
    with suppress(FileExistsError):
        link.symlink_to(folder)
    if not _is_ours(link, folder):
        raise TagsweepError(
            f"{link} is another user's, and the database's socket needs a short path."
            " Choose a shorter --run-dir, or have that link removed, and run again."
        )
    return link


def remove_link(folder: Path) -> None:
    """Remove the link to a data folder, if there is one of ours."""
    link = _link(folder)
    if _is_ours(link, folder):
        link.unlink()


def is_served(folder: Path, host: Path) -> bool:
    """Say whether a server uses the data folder, also one that no keeper has started."""
    return _is_heard(host) or _is_running(folder)


def _is_heard(host: Path) -> bool:
    """Say whether a server listens there, in whatever container."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(host / SOCKET))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except BlockingIOError:
            pass  # a queue that is full is somebody's
    return True


def _is_running(folder: Path) -> bool:
    """Say whether postmaster.pid names a server of the folder, wherever it listens."""
    try:
        pid = int((folder / "postmaster.pid").read_text().split()[0])
        process = psutil.Process(pid)
        return process.name() == "postgres" and Path(process.cwd()) == folder
    except (FileNotFoundError, IndexError, psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _link(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return LINKS / f"tagsweep-{os.geteuid()}-{name}"


def _is_ours(link: Path, folder: Path) -> bool:
    is_own = link.is_symlink() and link.lstat().st_uid == os.geteuid()
    return is_own and link.readlink() == folder
