import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from orchestrator.cli import app
from shared.config.sweep import load_config

LIMIT = 10
"""The commands from nothing to a running sweep on Kubernetes must be fewer."""


@pytest.fixture(scope="module")
def readme(checkout: Path) -> str:
    return (checkout / "deploy/README.md").read_text()


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def _commands(text: str) -> list[str]:
    lines = [line for block in _blocks(text, "sh") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_bash_understands_every_block(readme: str) -> None:
    blocks = _blocks(readme, "sh")
    assert len(blocks) > 5
    for block in blocks:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_every_command_of_tagsweep_exists_with_its_options(readme: str) -> None:
    commands: dict[str, Any] = typer.main.get_group(app).commands
    ours = [shlex.split(line) for line in _commands(readme) if line.startswith("tagsweep ")]
    assert {name for _, name, *_ in ours} == {"launch", "status", "logs", "stop", "predict"}
    for _, name, *arguments in ours:
        assert name in commands, f"there is no command tagsweep {name}"
        known = {option for one in commands[name].params for option in one.opts}
        assert {one for one in arguments if one.startswith("-")} <= known


def test_the_sweep_that_it_shows_is_valid(readme: str, tmp_path: Path) -> None:
    (block,) = _blocks(readme, "yaml")
    (tmp_path / "sweep.yaml").write_text(block)
    config = load_config(tmp_path / "sweep.yaml")
    assert f"runs/{config.study.name}\n" in readme
    assert f"{config.workers.store}/{config.study.name}/bundle" in readme


def test_kubernetes_takes_few_commands_and_each_is_explained(readme: str) -> None:
    section = readme.split("## Kubernetes\n")[1]
    lines = _blocks(section, "sh")[0].splitlines()
    comments, commands = lines[::2], lines[1::2]
    assert len(commands) < LIMIT
    assert all(line.startswith("# ") for line in comments)
    assert not any(line.startswith("#") for line in commands)
    assert commands[-1].startswith("tagsweep launch ")


def test_every_file_that_it_names_exists(readme: str, checkout: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", readme):
        assert (checkout / "deploy" / link).exists(), link
    for path in re.findall(r"\bdeploy/[\w./-]+", "\n".join(_commands(readme))):
        if "/secrets" not in path or path.endswith(".sh"):
            assert (checkout / path).exists(), path


def test_every_anchor_exists(readme: str) -> None:
    headings = {line[3:].lower() for line in readme.splitlines() if line.startswith("## ")}
    anchors = set(re.findall(r"\]\(#([\w-]+)\)", readme))
    assert anchors
    assert anchors <= headings


def test_every_object_of_kubernetes_that_it_names_exists(readme: str, checkout: Path) -> None:
    files = [*checkout.glob("deploy/k8s/base/*.yaml")]
    manifests = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    known = {
        (one["kind"].lower(), one["metadata"]["name"])
        for one in manifests
        if "kind" in one and "metadata" in one
    }
    commands = "\n".join(_commands(readme))
    named = set(re.findall(r"\b(statefulset|deployment|cronjob)/(\w+)", commands))
    assert named == {
        ("statefulset", "postgres"),
        ("deployment", "dashboard"),
        ("cronjob", "backup"),
    }
    assert named <= known
    # KubeRay's name for the service of a cluster's head.
    assert "service/tagsweep-head-svc" in commands
    assert ("raycluster", "tagsweep") in known


def test_it_names_the_version_of_kuberay_that_the_manifests_were_checked_against(
    readme: str,
) -> None:
    schema = (Path(__file__).parent / "raycluster.schema.json").read_text()
    (version,) = re.findall(r"ref=(v[\d.]+)", readme)
    assert f"KubeRay {version} " in schema
