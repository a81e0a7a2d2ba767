"""Keep what Optuna calls artifacts, a study's files, where the study's store is."""

from collections.abc import Mapping
from http import HTTPStatus
from io import BytesIO
from typing import BinaryIO

from bottle import HTTPError
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import RDBStorage

from shared.search.attributes import STORE
from shared.store import read_file, remove_file, write_file


class StoredArtifacts:
    """Be an artifact store for Optuna (`optuna.artifacts`) in a folder or an object store."""

    def __init__(self, store: str) -> None:
        """Take the folder or fsspec URL."""
        self._store = store

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return an artifact's content; raise ArtifactNotFound when there is none."""
        try:
            return BytesIO(read_file(self._store, _name(artifact_id)))
        except FileNotFoundError as error:
            raise ArtifactNotFound(f"{self._store} has no artifact {artifact_id}") from error

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep an artifact, in the place of one with the same id."""
        write_file(self._store, _name(artifact_id), content_body.read())

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact, if there is one."""
        remove_file(self._store, _name(artifact_id))


class ArtifactsOfStudies:
    """Find each artifact in the store that its study names, for optuna-dashboard to show."""

    def __init__(self, storage: RDBStorage, stores: Mapping[str, str]) -> None:
        """Take the studies; `stores`, by study, go before what the studies say."""
        self._storage, self._stores = storage, stores

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return an artifact's content; answer with status 404 when it cannot be read from here."""
        store = self._store_of(artifact_id)
        try:
            return StoredArtifacts(store).open_reader(artifact_id)
        except Exception as error:  # each kind of store raises its own library's
            raise HTTPError(
                HTTPStatus.NOT_FOUND,
                f"This file cannot be read from {store}: {type(error).__name__}: {error}",
            ) from error

    def _store_of(self, artifact_id: str) -> str:
        for study in self._storage.get_all_studies():
            if f"artifacts:{artifact_id}" in study.system_attrs:
                named = study.user_attrs.get(STORE, "nowhere")
                return str(self._stores.get(study.study_name, named))
        return "nowhere"


def _name(artifact_id: str) -> str:
    return f"artifacts/{artifact_id}"
