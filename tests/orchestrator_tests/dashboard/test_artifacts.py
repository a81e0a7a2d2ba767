from io import BytesIO
from pathlib import Path

import optuna
import pytest
from bottle import HTTPError
from optuna.artifacts import download_artifact, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound

from orchestrator.dashboard.artifacts import ArtifactsOfStudies, StoredArtifacts
from shared.store import Store
from shared.study.attributes import STORE
from shared.study.tables.study_storage import StudyStorage


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store(str(tmp_path / "store"))
    return Store(f"{request.getfixturevalue('bucket')}/{request.node.name}")


def test_what_optuna_uploads_it_downloads_again(store: Store, tmp_path: Path) -> None:
    study, artifacts = optuna.create_study(), StoredArtifacts(store)
    (tmp_path / "report.html").write_text("<p>well done</p>")
    artifact_id = upload_artifact(
        artifact_store=artifacts, file_path=str(tmp_path / "report.html"), study_or_trial=study
    )
    copy = tmp_path / "copy.html"
    download_artifact(artifact_store=artifacts, artifact_id=artifact_id, file_path=str(copy))
    assert copy.read_text() == "<p>well done</p>"
    artifacts.remove(artifact_id)
    with pytest.raises(ArtifactNotFound, match=artifact_id):
        artifacts.open_reader(artifact_id)


def test_each_study_has_a_store_of_its_own(
    storage: StudyStorage, study_name: str, tmp_path: Path
) -> None:
    ids = []
    for name in ("one", "two"):
        study = optuna.create_study(storage=storage, study_name=f"{study_name}-{name}")
        study.set_user_attr(STORE, str(tmp_path / name))
        (tmp_path / "file.txt").write_text(name)
        artifacts = StoredArtifacts(Store(str(tmp_path / name)))
        path = str(tmp_path / "file.txt")
        ids.append(upload_artifact(artifact_store=artifacts, file_path=path, study_or_trial=study))
    found = ArtifactsOfStudies(storage, {})
    assert [found.open_reader(one).read() for one in ids] == [b"one", b"two"]


def test_a_run_that_was_moved_has_its_files_where_it_is(
    storage: StudyStorage, study_name: str, tmp_path: Path
) -> None:
    study = optuna.create_study(storage=storage, study_name=study_name)
    study.set_user_attr(STORE, str(tmp_path / "before"))
    study._storage.set_study_system_attr(study._study_id, "artifacts:a-1", "{}")
    StoredArtifacts(Store(str(tmp_path / "now"))).write("a-1", BytesIO(b"here"))
    found = ArtifactsOfStudies(storage, {study_name: Store(str(tmp_path / "now"))})
    assert found.open_reader("a-1").read() == b"here"
    with pytest.raises(HTTPError, match="cannot be read from .*before") as missing:
        ArtifactsOfStudies(storage, {}).open_reader("a-1")
    assert missing.value.status_code == 404


def test_a_file_that_no_study_knows_is_not_found(storage: StudyStorage) -> None:
    with pytest.raises(HTTPError, match="in no study's store"):
        ArtifactsOfStudies(storage, {}).open_reader("0")
