import ssl
import stat
import subprocess
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from shared.study.tables.storage import parse_url


@pytest.fixture
def secrets(deploy: Path) -> Path:
    return deploy / "secrets"


def test_all_that_needs_the_database_has_the_same_password(secrets: Path) -> None:
    password = (secrets / "database_password").read_text()
    url = (secrets / "storage_url").read_text()
    assert len(password) == 64
    assert parse_url(url).password == password
    assert make_url(url).username == make_url(url).database == "tagsweep"


def test_the_token_is_long_and_stands_alone_in_its_file(secrets: Path) -> None:
    token = (secrets / "ray_token").read_text()
    assert len(token) == 64
    assert token == token.strip()
    assert token != (secrets / "database_password").read_text()


def test_only_the_owner_enters_the_folder_and_containers_read_what_is_mounted(
    secrets: Path,
) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    for name in ("database_password", "storage_url", "ray_token"):
        assert stat.S_IMODE((secrets / name).stat().st_mode) == 0o644
    assert stat.S_IMODE((secrets / "tls.key").stat().st_mode) == 0o600


def test_the_certificate_is_of_the_service_and_of_its_key(secrets: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(secrets / "tls.crt", secrets / "tls.key")
    client = ssl.create_default_context(cafile=secrets / "tls.crt")
    assert _shake_hands(server, client, "postgres")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _shake_hands(server, client, "example.com")


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bool:
    """Let two ends meet in memory; raise what the client finds wrong."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for end in (ours, theirs, ours, theirs):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return ours.version() is not None


def test_secrets_that_are_there_are_not_replaced(deploy: Path, secrets: Path) -> None:
    before = (secrets / "ray_token").read_text()
    done = subprocess.run(["sh", deploy / "secrets.sh", secrets], check=False, capture_output=True)
    assert done.returncode != 0
    assert (secrets / "ray_token").read_text() == before


@pytest.mark.parametrize("folder", ["deploy/secrets", "deploy/k8s/base/secrets"])
def test_git_ignores_them(checkout: Path, folder: str) -> None:
    subprocess.run(["git", "check-ignore", "-q", f"{folder}/ray_token"], cwd=checkout, check=True)
