import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.acceptance.commands import FinishedRun, Tagsweep
from tests.acceptance.forks import Forks

N_ROWS = 500
SHORT = "training: {max_epochs: 20}\nensemble: {n_folds: 2}\n"


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running


@pytest.fixture(scope="session")
def tagsweep(forks: Forks) -> Tagsweep:
    """Return a function that runs the command as a user would, and requires its exit code.

    With None for a code it may be any.
    """

    def run(
        *arguments: object, code: int | None = 0, stdin: str = "", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = forks.run(["tagsweep", *map(str, arguments)], stdin, cwd)
        said = f"{done.returncode}: {done.stdout}\n{done.stderr}"
        assert code in (None, done.returncode), said
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def small_csv(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the first of the example's reviews, quoted newlines and all."""
    path = tmp_path_factory.mktemp("data") / "small.csv"
    pd.read_csv(checkout / "examples" / "reviews.csv", nrows=N_ROWS).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def short_yaml(small_csv: Path) -> Path:
    """Return a configuration of a sweep over the small CSV that is soon over."""
    path = small_csv.with_name("short.yaml")
    path.write_text(f"{SHORT}data: {{csv: {small_csv.name}}}\n")
    return path


@pytest.fixture(scope="session")
def inline_yaml(short_yaml: Path) -> Path:
    """Return the same configuration, with one worker in the driver's process."""
    path = short_yaml.with_name("inline.yaml")
    path.write_text(f"{short_yaml.read_text()}workers: {{pool: inline}}\n")
    return path


@pytest.fixture(scope="session")
def finished(
    tagsweep: Tagsweep, short_yaml: Path, tmp_path_factory: pytest.TempPathFactory
) -> FinishedRun:
    """Return a run of eight trials by two workers, and the command that made it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    command = ("run", short_yaml, "--n-trials", 8, "--n-workers", 2, "--run-dir", folder)
    return FinishedRun(folder, command, tagsweep(*command).stdout)


@pytest.fixture
def prepared(finished: FinishedRun, tmp_path: Path) -> Path:
    """Return a run directory that has its embeddings, and nothing else."""
    shutil.copytree(finished.folder / "embeddings", tmp_path / "run" / "embeddings")
    return tmp_path / "run"
