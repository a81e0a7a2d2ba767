"""Harm a sweep's database and its disk; each function says whether there was anything to harm."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import psycopg2
from sqlalchemy.engine import URL

from benchmarks.chaos.sweep import GRACE_S, TAGSWEEP, Sweep, beyond_the_grace
from benchmarks.outages import crashed, postmaster

RECOVERY_TIMEOUT_S = 60
N_SEGMENTS = 20
"""More segments of the log of writes than a server keeps in reserve."""


def kill_database(sweep: Sweep, rng: random.Random) -> bool:
    """End the server in one of the hard ways; it must be started again by itself."""
    if not sweep.at_work():
        return False
    postmaster(_url(sweep)).send_signal(rng.choice((signal.SIGKILL, signal.SIGQUIT)))
    return True


def take_database_away(sweep: Sweep, rng: random.Random) -> bool:
    """Crash the server, and let nobody start it again for longer than the grace."""
    if not sweep.at_work():
        return False
    with crashed(_url(sweep)):
        time.sleep(beyond_the_grace(rng))
    return _recovers(sweep)


def freeze_database(sweep: Sweep, rng: random.Random) -> bool:
    """Stop all processes of the server for longer than the grace: none is gone, none answers."""
    if not sweep.at_work():
        return False
    server = postmaster(_url(sweep))
    frozen = [server, *server.children()]
    for process in frozen:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    time.sleep(beyond_the_grace(rng))
    for process in frozen:
        with suppress(psutil.NoSuchProcess):
            process.resume()
    return _recovers(sweep)


def make_read_only(sweep: Sweep, rng: random.Random) -> bool:
    """Let the database take no writes for a while, as after a failover."""
    if not sweep.at_work():
        return False
    with _setting(sweep, "default_transaction_read_only", "on"):
        time.sleep(rng.uniform(0.5, 1.0) * GRACE_S)
        try:
            sweep.write()
        except psycopg2.errors.ReadOnlySqlTransaction:
            return True
    return False


def fill_disk(sweep: Sweep, rng: random.Random) -> bool:
    """Leave no room on the run directory's disk for a while, and have the server need some."""
    if not sweep.at_work():
        return False
    ballast = sweep.paths.root / "ballast"
    with ballast.open("wb") as file:
        while free := shutil.disk_usage(sweep.paths.root).free:
            with suppress(OSError):  # others have taken some of it meanwhile
                os.posix_fallocate(file.fileno(), ballast.stat().st_size, free)
    try:
        is_full = _runs_out_of_room(sweep)
        time.sleep(rng.uniform(0.5, 1.0) * GRACE_S)
    finally:
        ballast.unlink()
    return _recovers(sweep) and is_full


def look_from_elsewhere(sweep: Sweep, _rng: random.Random) -> bool:
    """Have a second host, where process numbers are others, ask for the status.

    It may answer or refuse in a line, and must leave the database as it is.
    """
    if not sweep.at_work():
        return False
    server = postmaster(_url(sweep))
    elsewhere = ["unshare", "--pid", "--ipc", "--fork", "--mount-proc"]
    done = subprocess.run(
        [*elsewhere, TAGSWEEP, "status", sweep.paths.root],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout if done.returncode == 0 else done.stderr
    is_in_order = done.returncode == 0 or len(said.strip().splitlines()) == 1
    if not is_in_order or not server.is_running() or server != postmaster(_url(sweep)):
        raise RuntimeError(f"A second host did harm, or was not told why it cannot look: {said}")
    return True


def _url(sweep: Sweep) -> str:
    query = {"host": str(sweep.paths.database)}
    return URL.create("postgresql", query=query).render_as_string()


def _recovers(sweep: Sweep) -> bool:
    deadline = time.monotonic() + RECOVERY_TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(psycopg2.Error):
            sweep.write()
            return True
        time.sleep(0.1)
    return False


@contextmanager
def _setting(sweep: Sweep, name: str, value: str) -> Iterator[None]:
    """Have the server go by another setting while the block lasts."""
    sweep.execute(f"ALTER SYSTEM SET {name} = {value}")
    sweep.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        sweep.execute(f"ALTER SYSTEM RESET {name}")
        sweep.execute("SELECT pg_reload_conf()")


def _runs_out_of_room(sweep: Sweep) -> bool:
    """Have the server use up what it has in reserve, and say whether it found no more then."""
    try:
        for _ in range(N_SEGMENTS):
            sweep.execute("SELECT pg_switch_wal()")
            sweep.write()
    except psycopg2.Error:
        return True
    return False
