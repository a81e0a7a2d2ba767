"""Bring what this machine made to the study's store, and what others made from there."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared.bundle import Layout, read_manifest
from shared.errors import InputError
from shared.store import download, has_file, require_store, upload

if TYPE_CHECKING:  # a run knows Optuna and its databases, which predicting does not need
    from orchestrator.run import Run

BUNDLE = "bundle"
EMBEDDINGS = "embeddings"


def fetch_embeddings(run: "Run", key: str) -> None:
    """Take embeddings from the configured store, if there is one, and they are there."""
    store, cache = run.config.workers.store, run.paths.embeddings
    names = _names_of_embeddings(key)
    if store is None or all((cache / name).exists() for name in names):
        return
    require_store(store)
    for name in names:
        download(store, f"{EMBEDDINGS}/{name}", cache / name)


def share_embeddings(run: "Run", key: str) -> None:
    """Leave embeddings in the configured store, if there is one."""
    store = run.config.workers.store
    if store is None:
        return
    for name in _names_of_embeddings(key):
        if not has_file(store, f"{EMBEDDINGS}/{name}"):
            upload(store, f"{EMBEDDINGS}/{name}", run.paths.embeddings / name)


def share_bundle(run: "Run") -> str:
    """Leave the bundle in the configured store, if there is one, and return where it is.

    The manifest comes last, and names the hash of every file: whoever reads in between an old and a
    new bundle is told that files are not as they were written.
    """
    store = run.config.workers.store
    if store is None:
        return str(run.paths.bundle)
    folder = f"{run.study_name}/{BUNDLE}"
    files = sorted(run.paths.bundle.iterdir())
    manifest = Layout(run.paths.bundle).manifest
    for path in [*(path for path in files if path != manifest), manifest]:
        upload(store, f"{folder}/{path.name}", path)
    return f"{store.rstrip('/')}/{folder}"


@contextmanager
def bundle_at(location: str) -> Iterator[Path]:
    """Yield the folder of a bundle; one that a URL names is copied here for as long.

    Raises InputError when the URL has no bundle.
    """
    if "://" not in location:
        yield Path(location)
        return
    with tempfile.TemporaryDirectory(prefix="bundle-") as name:
        layout = Layout(Path(name))
        try:
            is_found = download(location, layout.manifest.name, layout.manifest)
        except Exception as error:  # each kind of store raises its own library's
            raise InputError(
                f"The bundle {location} cannot be read: {type(error).__name__}: {error}"
            ) from error
        if not is_found:
            raise InputError(f"{location} is not a bundle: it has no {layout.manifest.name}.")
        for file in read_manifest(layout.folder).files:
            if Path(file).name == file:
                download(location, file, layout.folder / file)
        yield layout.folder


def _names_of_embeddings(key: str) -> tuple[str, str]:
    """Name the vectors, and the facts that vouch for them and come last."""
    return f"{key}.npy", f"{key}.json"
