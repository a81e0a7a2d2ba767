"""Run on this machine what a cluster has: Ray nodes, and a PostgreSQL with TLS and passwords."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import trustme

from tests.ports import free_port

BIN = Path(sys.executable).parent
PATIENCE_S = 60


@dataclass
class RayCluster:
    """Start nodes of one cluster, each with a command of its own, as on machines of their own."""

    environment: dict[str, str]
    host: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    dashboard_port: int = field(default_factory=free_port)
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="ray-")))

    @property
    def session(self) -> Path:
        """The folder of the cluster's logs and sockets."""
        return self.folder / "session_latest"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    def start_head(self) -> None:
        self._start(
            "--head", f"--port={self.port}", f"--dashboard-port={self.dashboard_port}",
            "--include-dashboard=true", "--num-cpus=0", f"--node-ip-address={self.host}",
            f"--temp-dir={self.folder}",
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while not _answers(f"{self.dashboard}/api/version"):
            assert time.monotonic() < deadline
            time.sleep(0.5)

    def add_node(self, prefix: tuple[str, ...] = (), host: str = "") -> subprocess.Popen[bytes]:
        """Start a node, and wait for its socket: at once, two would take the same name for it."""
        n_before = len(self._sockets())
        node = self._start(
            f"--address={self.address}", "--num-cpus=1",
            *([f"--node-ip-address={host}"] if host else []),
            prefix=prefix,
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while len(self._sockets()) == n_before:
            assert time.monotonic() < deadline
            assert node.poll() is None
            time.sleep(0.2)
        return node

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.terminate()
        for node in self.nodes:
            node.wait(PATIENCE_S)
        shutil.rmtree(self.folder)

    def _sockets(self) -> list[Path]:
        return list((self.session / "sockets").glob("raylet*"))

    def _start(self, *options: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        # Nodes of one machine would take each other's ports from the default ranges, and a head
        # whose agent finds its port taken, by a Ray of another test, takes no jobs.
        ports = ("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0")
        command = [
            *prefix,
            BIN / "ray",
            "start",
            "--block",
            "--disable-usage-stats",
            *ports,
            *options,
        ]
        node = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.nodes.append(node)
        return node


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  our own address
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextmanager
def postgres_with_tls(folder: Path, password: str, host: str = "127.0.0.1") -> Iterator[str]:
    """Yield the URL of a PostgreSQL of the system's, for a role that is no superuser."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert programs, "PostgreSQL is missing: install the system's package `postgresql`"
    ca, port = trustme.CA(), free_port()
    ca.cert_pem.write_to_path(folder / "ca.crt")
    data = folder / "data"
    data.mkdir(mode=0o700)
    user = "postgres" if os.geteuid() == 0 else None

    def run(program: str, *options: str) -> None:
        command = [programs[-1] / program, *options, "-D", data]
        group = pwd.getpwnam(user).pw_gid if user else None
        subprocess.run(
            command, cwd=data, user=user, group=group, check=True, stdout=subprocess.DEVNULL
        )

    if user is not None:
        folder.chmod(0o755)
        shutil.chown(data, user)
    run("initdb", "--username=postgres", "--auth=trust")
    certificate = ca.issue_cert(host)
    certificate.cert_chain_pems[0].write_to_path(data / "server.crt")
    certificate.private_key_pem.write_to_path(data / "server.key")
    (data / "server.key").chmod(0o600)
    if user is not None:
        shutil.chown(data / "server.crt", user)
        shutil.chown(data / "server.key", user)
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(f"listen_addresses = '{host}'\nport = {port}\nssl = on\n")
        settings.write(f"unix_socket_directories = '{data}'\n")
    (data / "pg_hba.conf").write_text(
        "local all postgres trust\nhostssl sweeps sweeper all scram-sha-256\n"
    )
    run("pg_ctl", "start", "-w", "-l", "log")
    try:
        with closing(
            psycopg2.connect(host=str(data), port=port, user="postgres", dbname="postgres")
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CREATE ROLE sweeper LOGIN NOSUPERUSER PASSWORD %s", (password,))
                cursor.execute("CREATE DATABASE sweeps OWNER sweeper")
        where = f"{host}:{port}/sweeps?sslmode=verify-full&sslrootcert={folder / 'ca.crt'}"
        yield f"postgresql://sweeper:{password}@{where}"
    finally:
        run("pg_ctl", "stop", "-w", "-m", "fast")
