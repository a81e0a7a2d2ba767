"""Put PgBouncer, with the settings that deploy/ ships, before a server on a Unix socket."""

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
from sqlalchemy.engine import make_url

from orchestrator.runs.postgres_folder import SYSTEM_USER

SETTINGS = Path(__file__).parents[2] / "deploy" / "pgbouncer.ini"
START_TIMEOUT_S = 10


@contextmanager
def pgbouncer(server_url: str, folder: Path, pool_size: int) -> Iterator[str]:
    """Yield the URL of a PgBouncer that holds `pool_size` connections to the server at most."""
    server = make_url(server_url)
    port = _free_port()
    folder.chmod(0o755)
    users, settings, config = (folder / name for name in ("users.txt", "shipped.ini", "own.ini"))
    users.write_text(f'"{server.username}" ""\n')
    settings.write_text(SETTINGS.read_text())
    config.write_text(
        f"[databases]\n* = host={server.query['host']} port=5432\n"
        f"[pgbouncer]\n%include {settings}\ndefault_pool_size = {pool_size}\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {users}\n"
    )
    # As root, PgBouncer refuses to run, and the server's socket lets only its own user in.
    user = SYSTEM_USER if os.geteuid() == 0 else None
    bouncer = subprocess.Popen(
        ["pgbouncer", "--quiet", config],
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
    )
    try:
        url = f"postgresql://{server.username}@127.0.0.1:{port}/{server.database}"
        _wait_for(url)
        yield url
    finally:
        bouncer.terminate()
        bouncer.wait()


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg2.connect(url).close()
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
