import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy_tests.manifests import OVERLAYS, Manifest, build


@pytest.fixture(scope="session")
def deploy(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of deploy/ with secrets made as its README says."""
    folder = tmp_path_factory.mktemp("checkout") / "deploy"
    shutil.copytree(checkout / "deploy", folder, ignore=shutil.ignore_patterns("secrets"))
    for secrets in (folder / "secrets", folder / "k8s" / "base" / "secrets"):
        subprocess.run(["sh", folder / "secrets.sh", secrets], check=True)
    return folder


@pytest.fixture(scope="session", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest, deploy: Path) -> list[Manifest]:
    return build(deploy / "k8s" / "overlays" / request.param)


@pytest.fixture(scope="session")
def spot(deploy: Path) -> list[Manifest]:
    return build(deploy / "k8s" / "overlays" / "spot")
