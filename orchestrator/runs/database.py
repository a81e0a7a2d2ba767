"""Run the PostgreSQL of a run directory, for as long as any process needs it.

The server is the child of a keeper, one process for each data folder, which stops it when no user
is left. Should either die, a user starts another. Who uses, keeps or serves a folder is known by
locks on files beside it, which the kernel drops with a process however it ends and which hold
across containers, where process numbers mean nothing.
"""

import fcntl
import logging
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg2
from sqlalchemy.engine import URL

from orchestrator.runs.postgres_folder import SUPERUSER, create, failure, make_ready, program
from orchestrator.runs.postgres_keeper import READY, lock_path, try_lock
from orchestrator.runs.postgres_record import is_on_network, read_record, write_record
from orchestrator.runs.postgres_socket import is_served, remove_link, socket_folder
from shared.errors import TagsweepError

START_TIMEOUT_S = 60
"""How long a start may take; recovery after a crash is part of it."""
UNREACHABLE_TIMEOUT_S = 3
"""How long to wait for a server on another machine, which a Unix socket never reaches."""
LEAVE_TIMEOUT_S = 90
"""How long the last user waits for the server's end, which has time limits of its own."""
POLL_S = 0.02
WATCH_S = 0.5
MAX_WATCH_S = 8.0
"""How often users look whether the server has died, and how often after starts that failed."""
LOCKS = ("lock", "users", "keeper")

logger = logging.getLogger(__name__)


@contextmanager
def embedded_postgres(data_folder: Path) -> Iterator[str]:
    """Yield the SQLAlchemy URL of the folder's server, made and started if need be.

    Any number of processes may be inside at once, and count with what they have forked; the last to
    leave waits until the server has stopped. It listens on a Unix socket in its data folder, which
    only its user and root may enter. Raises TagsweepError when the server does not start, or
    runs where it cannot be reached; what is raised inside comes out as it is.
    """
    folder = data_folder.resolve()
    with ExitStack() as stack:
        with _explained(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            files = [stack.enter_context(_opened(folder, kind)) for kind in LOCKS]
            _enter(folder, *files[:2])
            host = socket_folder(folder)
            _reach(folder, host)
        stack.callback(_leave, folder, os.getpid(), *files)
        stack.enter_context(_watched(folder, host))
        yield URL.create(
            "postgresql+psycopg2", SUPERUSER, database="postgres", query={"host": str(host)}
        ).render_as_string(hide_password=False)


def _enter(folder: Path, lock: int, users: int) -> None:
    """Become a user, as soon as a keeper that is leaving has left."""
    deadline = time.monotonic() + LEAVE_TIMEOUT_S
    while not try_lock(lock):
        if time.monotonic() > deadline:
            raise _unreachable(folder, f"{lock_path(folder, 'lock')} stays locked")
        time.sleep(POLL_S)
    fcntl.flock(users, fcntl.LOCK_SH)
    fcntl.flock(lock, fcntl.LOCK_UN)


def _leave(folder: Path, pid: int, lock: int, users: int, keeper: int) -> None:
    """Be no user any more, and wait until the keeper and its server are gone unless others are."""
    if os.getpid() != pid:
        return  # a fork, which shares the locks with the user that it is of
    fcntl.flock(users, fcntl.LOCK_UN)
    deadline = time.monotonic() + LEAVE_TIMEOUT_S
    while time.monotonic() < deadline:
        if try_lock(lock):
            is_used = not try_lock(users)
            is_over = is_used or try_lock(keeper)
            if is_over and not is_used:
                remove_link(folder)
            for descriptor in (lock, users, keeper):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            if is_over:
                return
        time.sleep(POLL_S)
    logger.warning("The database in %s has not stopped in %d s", folder, LEAVE_TIMEOUT_S)


def _reach(folder: Path, host: Path) -> None:
    """Wait until the server answers, and start it if nobody keeps it."""
    began = time.monotonic()
    while (obstacle := _obstacle(host)) is not None:
        with _taken(folder, host) as keeper:
            if keeper is not None:
                if not (folder / "PG_VERSION").exists():
                    create(folder, keeper)
                _start(folder, keeper)
                continue
        record = read_record(lock_path(folder, "keeper"))
        is_far = record is not None and not record.is_of_this_machine
        if time.monotonic() - began > (UNREACHABLE_TIMEOUT_S if is_far else START_TIMEOUT_S):
            raise _unreachable(folder, obstacle)
        time.sleep(POLL_S)


def _obstacle(host: Path) -> str | None:
    """Say what is in the way of a connection."""
    try:
        psycopg2.connect(
            host=str(host), user=SUPERUSER, dbname="postgres", connect_timeout=2
        ).close()
    except psycopg2.OperationalError as error:
        return str(error)
    return None


@contextmanager
def _taken(folder: Path, host: Path) -> Iterator[int | None]:
    """Yield the keeper's file, locked, or None where any process keeps or serves the folder."""
    with _opened(folder, "keeper") as keeper:
        yield keeper if try_lock(keeper) and not is_served(folder, host) else None


def _start(folder: Path, keeper: int) -> None:
    """Start a keeper, which takes the lock over, and wait until its server is ready."""
    path = lock_path(folder, "keeper")
    record = read_record(path)
    if record is not None and not record.is_of_this_machine and is_on_network(folder):
        raise TagsweepError(
            f"The database in {folder} runs {record}, as far as is known, and can run in one place"
            f" at a time. Go on there; if that machine is gone for good, remove {path}, which holds"
            " nothing of the study, and run again."
        )
    make_ready(folder)
    write_record(keeper)
    script = Path(__file__).with_name("postgres_keeper.py")
    try:
        told = subprocess.run(  # noqa: S603  our own arguments
            [sys.executable, "-I", script, folder, program("postgres"), str(keeper)],
            cwd=folder,
            pass_fds=(keeper,),
            start_new_session=True,  # so that no signal of a terminal reaches it
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise failure(folder, f"it is not ready after {START_TIMEOUT_S} s") from error
    if told.stdout != READY:
        raise failure(folder, told.stderr)


@contextmanager
def _watched(folder: Path, host: Path) -> Iterator[None]:
    """Start the server again meanwhile if it dies, as by a full disk or with its container."""
    ended = threading.Event()

    def watch() -> None:
        wait_s = WATCH_S
        while not ended.wait(wait_s):
            try:
                with _taken(folder, host) as keeper:
                    if keeper is not None:
                        logger.warning("The database has died. Starting it again")
                        _start(folder, keeper)
                wait_s = WATCH_S
            except (OSError, TagsweepError) as error:
                wait_s = min(2 * wait_s, MAX_WATCH_S)
                logger.warning("%s", error)

    thread = threading.Thread(target=watch, name="database", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _opened(folder: Path, kind: str) -> Iterator[int]:
    descriptor = os.open(lock_path(folder, kind), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Raise what the operating system refuses as a TagsweepError that says what to do."""
    try:
        yield
    except PermissionError as error:
        run = shlex.quote(str(folder.parent))
        raise TagsweepError(
            f"The database in {folder} belongs to another user: {error}. Run as its owner, or"
            f" make the run directory yours: sudo chown -R {os.geteuid()} {run}"
        ) from error
    except OSError as error:
        raise TagsweepError(
            f"The database in {folder} cannot be started: {error}. It needs a folder that can be"
            " written and locked, with room: see to that, or copy the run directory to such a one."
        ) from error


def _unreachable(folder: Path, obstacle: str) -> TagsweepError:
    record = read_record(lock_path(folder, "keeper"))
    where = "in another process" if record is None else str(record)
    return failure(
        folder,
        f"it runs {where}, and cannot be reached from here: {obstacle.strip().rstrip('.')}."
        " Run the command there, or end what runs there and run it again",
    )
