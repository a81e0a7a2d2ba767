"""Take up a study where its CSV is not: from what its store holds."""

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from orchestrator.data.dataset import Dataset
from orchestrator.data.embeddings import Embeddings, embeddings_key
from orchestrator.runs.run import Run
from shared.encoding.encoder import Encoder, resolve_encoder
from shared.errors import InputError
from shared.files import writing
from shared.store import Store, StoreError
from shared.study.attributes import DATA, FINGERPRINT, LABELS, STORE
from shared.study.study import read_attrs
from shared.study.tables.storage import opened_storage
from workers import SearchArrays, read_arrays, write_arrays

ENCODER = "the encoder's files"
"""How the study's data attribute calls the revision of its one encoder."""

Restored = tuple[Dataset, dict[str, Encoder], dict[str, Embeddings]]


def part_of(name: str, names: Collection[str]) -> str:
    """Return how the study's data attribute calls the revision of one of its encoders."""
    return ENCODER if len(names) == 1 else f"{ENCODER}: {name}"


def keep_data(store: Store, fingerprint: str, texts: Sequence[str], arrays: SearchArrays) -> None:
    """Have texts and arrays in the store, for machines that have nothing else."""
    write_arrays(store, fingerprint, arrays)
    store.write_once(_texts_name(fingerprint), lambda: json.dumps(texts).encode())


def read_texts(store: Store, fingerprint: str) -> tuple[str, ...]:
    """Read the texts that keep_data wrote; raises StoreError where they are not, or are torn."""
    return tuple(json.loads(store.read_sealed(_texts_name(fingerprint))))


def restore(run: Run) -> Restored | None:
    """Read the data of the run's study from its store; None when it has not been searched yet.

    Raises InputError when the store cannot be read from here.
    """
    if run.storage_url is None:
        return None
    with opened_storage(run.storage_url) as storage:
        attrs = read_attrs(storage, run.study_name) or {}
    if STORE not in attrs:
        return None
    fingerprint = attrs[FINGERPRINT]
    try:
        arrays = read_arrays(run.store, fingerprint)
        texts = read_texts(run.store, fingerprint)
    except StoreError as error:
        raise InputError(
            f"The CSV of study {run.study_name!r} is not here, and its data cannot be read: {error}"
            " Name the CSV with --data, which has all written again, or set workers.store to a"
            " folder or URL that all machines reach."
        ) from error
    names, class_column = tuple(attrs[LABELS]), run.config.data.class_column
    dataset = Dataset(texts, arrays.labels, names, str(run.store), class_column)
    configs = run.config.all_encoders
    encoders = {
        name: resolve_encoder(config, attrs[DATA][part_of(name, configs)])
        for name, config in configs.items()
    }
    stops = np.cumsum([0, *arrays.widths_by_name(run.config).values()])
    embeddings = {
        name: Embeddings(arrays.vectors[:, start:stop], embeddings_key(texts, encoder), 0, None)
        for (name, encoder), (start, stop) in zip(encoders.items(), pairwise(stops), strict=True)
    }
    return dataset, encoders, embeddings


def keep_revisions(path: Path, encoders: Mapping[str, Encoder]) -> None:
    """Write down what the encoders are: what was prepared stays, whatever the hub has since."""
    with writing(path) as unfinished:
        revisions = {name: encoder.revision for name, encoder in encoders.items()}
        unfinished.write_text(json.dumps(revisions), encoding="utf-8")


def known_revisions(run: Run) -> dict[str, str]:
    """Return what the encoders are by their names: in the run's study, or as it was prepared.

    None is known of an encoder that neither has.
    """
    configs, path, attrs = run.config.all_encoders, run.paths.encoders, None
    if run.storage_url is not None:
        with opened_storage(run.storage_url) as storage:
            attrs = read_attrs(storage, run.study_name)
    if attrs is not None:
        parts, data = {part_of(name, configs): name for name in configs}, attrs.get(DATA, {})
        return {name: data[part] for part, name in parts.items() if part in data}
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return known


def _texts_name(fingerprint: str) -> str:
    return f"texts/{fingerprint}.json"
