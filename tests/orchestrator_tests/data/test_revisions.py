"""A study keeps its encoder's commit, whatever the hub has since."""

from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.data.prepare import Prepared, prepare
from orchestrator.pipeline import run_prepare
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run, define_run
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage
from tests.tiny_encoder import write_tiny_encoder

OLD, NEW = "a" * 40, "b" * 40
CONSOLE = Console(quiet=True)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that says which of two commits of an encoder is the newest: the old one."""
    cached = tmp_path / "hub" / "models--sentence-transformers--some-encoder"
    (cached / "snapshots").mkdir(parents=True)
    for seed, commit in enumerate((OLD, NEW)):
        write_tiny_encoder(cached / "snapshots" / commit, 3, seed)
    (cached / "refs").mkdir()
    for name in ("huggingface_hub", "huggingface_hub.file_download"):
        monkeypatch.setattr(f"{name}.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    newest = cached / "refs" / "main"
    newest.write_text(OLD)
    return newest


@pytest.fixture
def run(checkout: Path, tmp_path: Path, study_name: str) -> Run:
    csv = checkout / "examples" / "reviews.csv"
    values = {"data": {"csv": csv}, "encoder": {"name": "some-encoder"}}
    return define_run(None, tmp_path / "run", None, values | {"study": {"name": study_name}})


def _commit(prepared: Prepared) -> str:
    (encoder,) = prepared.encoders.values()
    return encoder.revision


def test_what_was_prepared_stays_and_a_new_run_takes_the_newest(
    hub: Path, run: Run, tmp_path: Path
) -> None:
    run_prepare(run, CONSOLE)
    hub.write_text(NEW)
    assert _commit(prepare(run, CONSOLE)) == OLD
    run_prepare(run, CONSOLE)
    assert _commit(prepare(run, CONSOLE)) == OLD
    assert _commit(prepare(Run(RunPaths(tmp_path / "new"), run.config), CONSOLE)) == NEW


def test_a_study_on_a_server_is_gone_on_with_from_any_machine(
    hub: Path, run: Run, storage: StudyStorage, postgres_url: str, tmp_path: Path
) -> None:
    prepared = prepare(run, CONSOLE)
    arguments = (storage, run.study_name, run.config, prepared.fingerprint, prepared.parts)
    open_study(*arguments)
    hub.write_text(NEW)
    elsewhere = prepare(Run(RunPaths(tmp_path / "other"), run.config, postgres_url), CONSOLE)
    assert _commit(elsewhere) == OLD
    assert elsewhere.fingerprint == prepared.fingerprint


def test_the_studys_commit_goes_before_the_one_that_a_run_directory_was_prepared_with(
    hub: Path, run: Run, storage: StudyStorage, postgres_url: str
) -> None:
    prepared = prepare(run, CONSOLE)
    open_study(storage, run.study_name, run.config, prepared.fingerprint, prepared.parts)
    hub.write_text(NEW)
    run_prepare(run, CONSOLE)
    assert _commit(prepare(Run(run.paths, run.config, postgres_url), CONSOLE)) == OLD
