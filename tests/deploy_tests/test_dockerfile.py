import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from ray._private.ray_constants import RAY_WORKER_NICENESS

Instruction = tuple[str, str]


@pytest.fixture(scope="module")
def stages(checkout: Path) -> dict[str, list[Instruction]]:
    """Return the instructions of each stage, the name and base of the stage first."""
    text = (checkout / "deploy/Dockerfile").read_text()
    code = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[Instruction]] = {}
    for line in filter(str.strip, code.splitlines()):
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            *_, stage = arguments.split(" AS ")
            found[stage] = []
        found[stage].append((name, " ".join(arguments.split())))
    return found


def test_hadolint_finds_nothing(checkout: Path) -> None:
    beside_python = Path(sys.executable).with_name("hadolint")
    # DL3008 asks for versions of Debian's packages, but Debian serves a release's newest only.
    command = [beside_python, "--ignore=DL3008", checkout / "deploy/Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def _all(stages: dict[str, list[Instruction]], name: str) -> list[str]:
    return [text for stage in stages.values() for key, text in stage if key == name]


def test_it_builds_for_cpu_and_gpu_from_one_pinned_base(
    stages: dict[str, list[Instruction]],
) -> None:
    assert list(stages) == ["cpu", "gpu"]
    base, inner = _all(stages, "FROM")
    assert re.fullmatch(r"python:3\.11-slim-\w+ AS cpu", base)
    assert inner == "cpu AS gpu"


def test_workers_of_every_cluster_are_not_nice(stages: dict[str, list[Instruction]]) -> None:
    """Ray reads the variable where it is started, by its exact name, and knows no other by it."""
    (environment,) = (text for text in _all(stages, "ENV") if "RAY_" in text)
    assert "RAY_worker_niceness=0" in environment.split()
    assert RAY_WORKER_NICENESS == "RAY_worker_niceness"


def test_each_target_has_the_pytorch_that_its_nodes_encode_with(
    stages: dict[str, list[Instruction]],
) -> None:
    indexes = {
        stage: re.findall(r"--index-url https://download\.pytorch\.org/whl/(\w+) torch", text)
        for stage, instructions in stages.items()
        for text in [" ".join(text for name, text in instructions if name == "RUN")]
    }
    assert indexes == {"cpu": ["cpu"], "gpu": ["cu129"]}
    assert "pip uninstall --yes torch &&" in " ".join(_all(stages, "RUN")), "or it would stay"


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_no_target_is_root(stages: dict[str, list[Instruction]], target: str) -> None:
    users = [text for name, text in stages[target] if name == "USER"]
    assert users[-1] == "1000"
    assert any("useradd --uid 1000" in text for text in _all(stages, "RUN"))


def test_versions_are_those_that_are_tested(stages: dict[str, list[Instruction]]) -> None:
    installs = [text for text in _all(stages, "RUN") if "pip install" in text]
    assert len(installs) == 4
    for text in installs:
        assert re.search(r"--constraint (/opt/tagsweep/)?constraints\.txt", text)


def test_what_it_installs_are_extras_of_the_project(
    stages: dict[str, list[Instruction]], checkout: Path
) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    asked = re.findall(r"'[\w/.]+\[([\w,]+)\]'", " ".join(_all(stages, "RUN")))
    extras = {extra for group in asked for extra in group.split(",")} - {"default"}
    assert extras == {"offline", "s3", "gs", "gpu"}
    assert extras <= project["optional-dependencies"].keys()


def _is_sent(path: str, patterns: list[str]) -> bool:
    """Say whether Docker's build gets a path: the last pattern that matches it decides."""
    sent = True
    for pattern in patterns:
        name = pattern.removeprefix("!")
        parts = path.split("/")
        wholes = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
        places = parts if name.startswith("**/") else wholes
        if any(fnmatch(place, name.removeprefix("**/")) for place in places):
            sent = pattern.startswith("!")
    return sent


def test_the_build_gets_what_it_copies_and_nothing_else(
    stages: dict[str, list[Instruction]], checkout: Path
) -> None:
    lines = (checkout / "deploy/Dockerfile.dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    copied = {source for text in _all(stages, "COPY") for source in text.split()[:-1]}
    assert {pattern[1:] for pattern in patterns if pattern.startswith("!")} == copied
    assert all((checkout / source).exists() for source in copied)
    assert _is_sent("orchestrator/data/dataset.py", patterns)
    for path in ("deploy/secrets/ray_token", ".git/config", "shared/__pycache__/a.pyc", "runs/a"):
        assert not _is_sent(path, patterns), path


def test_all_packages_of_the_project_are_copied(
    stages: dict[str, list[Instruction]], checkout: Path
) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    copied = {text.split()[0] for text in _all(stages, "COPY")}
    assert {package.removesuffix("*") for package in packages} <= copied


def test_an_encoder_that_is_built_in_is_not_asked_for_on_the_hub(
    stages: dict[str, list[Instruction]],
) -> None:
    assert "ENCODER=" in _all(stages, "ARG")
    assert "HF_HUB_OFFLINE=${ENCODER:+1}" in _all(stages, "ENV")


def test_an_empty_variable_lets_the_hub_be_asked() -> None:
    from huggingface_hub.constants import _is_true

    assert not _is_true("")
    assert _is_true("1")
