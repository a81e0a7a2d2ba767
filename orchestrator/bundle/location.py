"""Bring what this machine made to the study's store, and what others made from there."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.bundle.manifest import Layout, read_manifest
from orchestrator.data.vectors import (
    Facts,
    content_of,
    facts_path,
    parse_facts,
    read_facts,
    vectors_path,
    write_facts,
)
from shared.errors import InputError
from shared.store import MissingError, Store, StoreError

if TYPE_CHECKING:  # a run knows Optuna and its databases, which predicting does not need
    from orchestrator.runs.run import Run

BUNDLE = "bundle"
EMBEDDINGS = "embeddings"

logger = logging.getLogger(__name__)


def fetch_embeddings(run: "Run", key: str) -> None:
    """Take embeddings from the configured store, if there is one, and they are there.

    Vectors that are torn there are removed: whoever makes them anew shares them again.
    """
    store, cache = run.shared_store, run.paths.embeddings
    vectors, facts = vectors_path(cache, key), facts_path(cache, key)
    if store is None or (vectors.exists() and facts.exists()):
        return
    store.require()
    found = _facts_in(store, key)
    if found is None or not store.download(_name_of_vectors(found), vectors):
        return
    if content_of(vectors) == (found.n_bytes, found.sha256):
        write_facts(facts, found)
        return
    logger.warning("%s in the store %s is torn and made anew", _name_of_vectors(found), store)
    vectors.unlink()
    store.remove(_name_of_vectors(found))


def share_embeddings(run: "Run", key: str) -> None:
    """Leave embeddings in the configured store, if there is one and it does not have them whole."""
    store, cache = run.shared_store, run.paths.embeddings
    if store is None:
        return
    found = _facts_in(store, key)
    if found is not None and store.size(_name_of_vectors(found)) == found.n_bytes:
        return
    own = read_facts(facts_path(cache, key))
    if own is not None:
        store.upload(_name_of_vectors(own), vectors_path(cache, key))
        store.upload(_name_of_facts(key), facts_path(cache, key))


def share_bundle(run: "Run") -> str:
    """Leave the bundle in the configured store, if there is one, and return where it is.

    The manifest comes last, and names the hash of every file: whoever reads in between an old and a
    new bundle is told that files are not as they were written.
    """
    store = run.shared_store
    if store is None:
        return str(run.paths.bundle)
    folder = f"{run.study_name}/{BUNDLE}"
    files = sorted(run.paths.bundle.iterdir())
    manifest = Layout(run.paths.bundle).manifest
    for path in [*(path for path in files if path != manifest), manifest]:
        store.upload(f"{folder}/{path.name}", path)
    return store.url_of(folder)


@contextmanager
def bundle_at(location: str) -> Iterator[Path]:
    """Yield the folder of a bundle; one that a URL names is copied here for as long.

    Raises InputError when the URL has no bundle.
    """
    if "://" not in location:
        yield Path(location)
        return
    with tempfile.TemporaryDirectory(prefix="bundle-") as name:
        layout, store = Layout(Path(name)), Store(location)
        try:
            is_found = store.download(layout.manifest.name, layout.manifest)
        except StoreError as error:
            raise InputError(f"The bundle {store} cannot be read. {error}") from error
        if not is_found:
            raise InputError(f"{store} is not a bundle: it has no {layout.manifest.name}.")
        for file in read_manifest(layout.folder).files:
            if Path(file).name == file:
                store.download(file, layout.folder / file)
        yield layout.folder


def _facts_in(store: Store, key: str) -> Facts | None:
    try:
        return parse_facts(store.read(_name_of_facts(key)), _name_of_facts(key))
    except MissingError:
        return None


def _name_of_facts(key: str) -> str:
    return f"{EMBEDDINGS}/{key}.json"


def _name_of_vectors(facts: Facts) -> str:
    """Name vectors by their content: facts of one machine never vouch for another's."""
    return f"{EMBEDDINGS}/{facts.sha256}.npy"
