import logging
import shutil
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import optuna_dashboard
import pytest
from optuna.artifacts import get_all_artifact_meta
from optuna.study import Study
from optuna.trial import create_trial

from orchestrator.dashboard import page
from orchestrator.dashboard.artifacts import StoredArtifacts
from orchestrator.dashboard.page import show_making, show_result, show_search
from orchestrator.ensemble.members import name_of_member
from orchestrator.runs.run import Run
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage
from tests.orchestrator_tests import showcase

MAX_BYTES = 100_000
"""What the plots of a study may take, all together."""


@pytest.fixture
def study(storage: StudyStorage, study_name: str, run: Run) -> Study:
    """Return a study of three trials of 30 steps."""
    study = open_study(storage, study_name, run.config, "fingerprint")
    values = {step: 1 / (step + 1) for step in range(30)}
    study.add_trials([create_trial(value=0.02, intermediate_values=values) for _ in range(3)])
    return study


@pytest.fixture
def run(tmp_path: Path, study_name: str) -> Run:
    run = showcase.run_at(tmp_path, study_name)
    run.paths.bundle.mkdir(parents=True)
    (run.paths.bundle / "manifest.json").write_text("manifest.json")
    run.store.write_sealed(name_of_member(showcase.KEY, 0), b"good")
    return run


def _attrs(study: Study) -> dict[str, Any]:
    return study._storage.get_study_system_attrs(study._study_id)


def _plots(study: Study) -> dict[str, int]:
    """Return how many bytes each saved plot takes."""
    sizes: dict[str, int] = {}
    for key, value in _attrs(study).items():
        if key.startswith("dashboard:plot_data:"):
            name = key.split(":")[2]
            sizes[name] = sizes.get(name, 0) + len(value)
    return sizes


def _show_result(run: Run, study: Study) -> None:
    show_result(
        run, showcase.prepared(), study, showcase.metrics(), showcase.scores(), "the/bundle"
    )


def test_a_search_has_its_note_from_the_first_moment(study: Study, run: Run) -> None:
    said = []
    with show_search(run, showcase.prepared(), study, lambda *so_far: said.append(so_far)) as show:
        assert "The search is under way." in optuna_dashboard.get_note(study)
        show(3, "three")
        assert _plots(study) == {}, "they are drawn a minute later"
    assert said == [(3, "three")]
    assert "The ensemble comes next." in optuna_dashboard.get_note(study)
    assert _plots(study).keys() == {"learning-curves", "budget"}


def test_plots_are_drawn_anew_during_a_search(
    study: Study, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "REFRESH_S", 0)
    with show_search(run, showcase.prepared(), study, lambda *_: None) as show:
        show(0, "")
        assert _plots(study).keys() == {"learning-curves", "budget"}


def test_a_result_comes_with_note_plots_and_files(study: Study, run: Run) -> None:
    _show_result(run, study)
    assert "/the/bundle`" in optuna_dashboard.get_note(study)
    assert _plots(study).keys() == {"average-precision", "precision-recall"}
    files = {one.filename: one.artifact_id for one in get_all_artifact_meta(study)}
    assert files.keys() == {"bundle.zip", "best-trial.keras"}
    content = StoredArtifacts(run.store).open_reader(files["bundle.zip"]).read()
    assert zipfile.ZipFile(BytesIO(content)).read("manifest.json") == b"manifest.json"


def test_a_newer_result_takes_the_place_of_the_old_one(study: Study, run: Run) -> None:
    _show_result(run, study)
    before = _attrs(study).keys()
    run.store.write_sealed(name_of_member(showcase.KEY, 0), b"better")
    _show_result(run, study)
    assert _attrs(study).keys() == before
    (file,) = [one for one in get_all_artifact_meta(study) if one.filename == "best-trial.keras"]
    assert StoredArtifacts(run.store).open_reader(file.artifact_id).read() == b"better"


def test_while_a_new_ensemble_is_made_the_old_result_is_not_said_to_be_all(
    study: Study, run: Run
) -> None:
    _show_result(run, study)
    show_making(run, showcase.prepared(), study)
    note = optuna_dashboard.get_note(study)
    assert "Its ensemble is being made." in note
    assert "Done" not in note


def test_plots_stay_small(study: Study, run: Run) -> None:
    with show_search(run, showcase.prepared(), study, lambda *_: None):
        pass
    _show_result(run, study)
    assert sum(_plots(study).values()) < MAX_BYTES, _plots(study)


def test_what_cannot_be_shown_stops_nothing_and_is_told(
    study: Study, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(run.paths.store)
    run.paths.store.write_text("a file is where a folder should be")
    with caplog.at_level(logging.WARNING):
        _show_result(run, study)
    assert "The study's files cannot be shown in optuna-dashboard" in caplog.text
    assert "/the/bundle`" in optuna_dashboard.get_note(study)
