"""Keep what Optuna calls artifacts, a study's files, where the study's store is."""

from collections.abc import Mapping
from http import HTTPStatus
from io import BytesIO
from typing import BinaryIO

from bottle import HTTPError
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import RDBStorage

from shared.store import MissingError, Store, StoreError
from shared.study.attributes import STORE


class StoredArtifacts:
    """Be an artifact store for Optuna (`optuna.artifacts`) in a folder or an object store."""

    def __init__(self, store: Store) -> None:
        """Take the store."""
        self._store = store

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return an artifact's content; raise ArtifactNotFound when there is none."""
        try:
            return BytesIO(self._store.read(_name(artifact_id)))
        except MissingError as error:
            raise ArtifactNotFound(f"{self._store} has no artifact {artifact_id}") from error

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep an artifact, in the place of one with the same id."""
        self._store.write(_name(artifact_id), content_body.read())

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact, if there is one."""
        self._store.remove(_name(artifact_id))


class ArtifactsOfStudies:
    """Find each artifact in the store that its study names, for optuna-dashboard to show."""

    def __init__(self, storage: RDBStorage, stores: Mapping[str, Store]) -> None:
        """Take the studies; `stores`, by study, go before what the studies say."""
        self._storage, self._stores = storage, stores

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return an artifact's content; answer with status 404 when it cannot be read from here."""
        store = self._store_of(artifact_id)
        if store is None:
            raise HTTPError(HTTPStatus.NOT_FOUND, "This file is in no study's store.")
        try:
            return StoredArtifacts(store).open_reader(artifact_id)
        except (ArtifactNotFound, StoreError) as error:
            reason = f"This file cannot be read from {store}: {error}"
            raise HTTPError(HTTPStatus.NOT_FOUND, reason) from error

    def _store_of(self, artifact_id: str) -> Store | None:
        for study in self._storage.get_all_studies():
            if f"artifacts:{artifact_id}" in study.system_attrs:
                named = study.user_attrs.get(STORE)
                return self._stores.get(study.study_name, Store(named) if named else None)
        return None


def _name(artifact_id: str) -> str:
    return f"artifacts/{artifact_id}"
