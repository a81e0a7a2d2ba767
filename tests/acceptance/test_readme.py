import json
import re
import shlex
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.acceptance.commands import TAGSWEEP, Tagsweep, start, status_of
from tests.ports import free_port

N_ROWS = 700
OF_CI = "make "
"""What `.ci/run` does instead, since it needs an environment of its own."""


def _commands(checkout: Path) -> list[str]:
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", readme, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def folder(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that looks like a checkout, but for fewer reviews."""
    folder = tmp_path_factory.mktemp("readme")
    shipped, copy = checkout / "examples", folder / "examples"
    copy.mkdir()
    for name in ("sweep.yaml", "new_reviews.csv"):
        shutil.copy(shipped / name, copy)
    pd.read_csv(shipped / "reviews.csv", nrows=N_ROWS).to_csv(copy / "reviews.csv", index=False)
    return folder


def _shell(command: str, folder: Path) -> str:
    path = f"PATH={shlex.quote(str(TAGSWEEP.parent))}:$PATH; "
    done = subprocess.run(
        ["bash", "-c", path + command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def _run(tagsweep: Tagsweep, command: str, folder: Path) -> str:
    """Run a command in a shell if it needs one, and if it is ours alone in the tests' way."""
    program, *arguments = shlex.split(command)
    if program == "tagsweep":
        return tagsweep(*arguments, cwd=folder).stdout
    return _shell(command, folder)


def test_every_command_of_the_readme_works_in_its_order(
    tagsweep: Tagsweep, checkout: Path, folder: Path
) -> None:
    outputs = {
        command: _run(tagsweep, command, folder)
        for command in _commands(checkout)
        if not command.startswith((OF_CI, "tagsweep dashboard"))
    }
    first, again, *_ = [output for command, output in outputs.items() if " run " in command]
    assert "logistic regression" in first
    assert "Nothing to do" in again
    status: dict[str, Any] = next(
        json.loads(output) for command, output in outputs.items() if "--json" in command
    )
    assert status["finished"] == 20
    assert len(pd.read_csv(folder / "predictions.csv")) == N_ROWS


def test_make_does_what_ci_does(checkout: Path) -> None:
    makefile = (checkout / "Makefile").read_text()
    ci = (checkout / ".ci" / "run").read_text()
    made = [line.split()[1] for line in _commands(checkout) if line.startswith("make ")]
    assert made == ["demo", "test", "lint"]
    for target in made:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
        assert re.search(rf"^make {target}$", ci, flags=re.MULTILINE)


def test_the_dashboard_reads_a_live_study(tagsweep: Tagsweep, checkout: Path, folder: Path) -> None:
    (command,) = [c for c in _commands(checkout) if c.startswith("tagsweep dashboard")]
    assert (folder / "runs" / "demo" / "config.yaml").exists(), "the README's run comes first"
    sweep = start("run", "--run-dir", "runs/demo", "--n-trials", 100_000, cwd=folder)
    port = free_port()
    path = f"PATH={shlex.quote(str(TAGSWEEP.parent))}:$PATH; exec "
    try:
        _wait_for_workers(tagsweep, folder)
        dashboard = subprocess.Popen(
            ["bash", "-c", f"{path}{command} --port {port}"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            studies = _get(f"http://127.0.0.1:{port}/api/studies")
        finally:
            dashboard.terminate()
            dashboard.wait()
    finally:
        sweep.terminate()
        sweep.communicate()
    assert sweep.returncode == 3
    assert [study["study_name"] for study in studies["study_summaries"]] == ["demo"]


def _wait_for_workers(tagsweep: Tagsweep, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while status_of(tagsweep, folder / "runs" / "demo")["workers"] == 0:
        assert time.monotonic() < deadline
        time.sleep(1)


def _get(url: str) -> Any:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  loopback
                return json.load(answer)
        except urllib.error.URLError:
            assert time.monotonic() < deadline
            time.sleep(0.5)
