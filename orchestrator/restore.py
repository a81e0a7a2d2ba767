"""Take up a study where its CSV is not: from what its store holds."""

import json
from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np

from orchestrator.run import Run
from shared.data.dataset import Dataset
from shared.data.embeddings import Embeddings, embeddings_key
from shared.data.encoder import Encoder, resolve_encoder
from shared.errors import InputError
from shared.search.attributes import DATA, FINGERPRINT, LABELS, STORE
from shared.search.storage import opened_storage
from shared.search.study import read_attrs
from shared.store import has_file, read_file, write_file
from workers import SearchArrays, read_arrays, write_arrays

ENCODER = "the encoder's files"
"""How the study's data attribute calls the revision of its one encoder."""

Restored = tuple[Dataset, dict[str, Encoder], dict[str, Embeddings]]


def part_of(name: str, names: Collection[str]) -> str:
    """Return how the study's data attribute calls the revision of one of its encoders."""
    return ENCODER if len(names) == 1 else f"{ENCODER}: {name}"


def keep_data(store: str, fingerprint: str, texts: Sequence[str], arrays: SearchArrays) -> None:
    """Write texts and arrays to the store, once, for machines that have nothing else."""
    write_arrays(store, fingerprint, arrays)
    if not has_file(store, _texts_name(fingerprint)):
        write_file(store, _texts_name(fingerprint), json.dumps(texts).encode())


def read_texts(store: str, fingerprint: str) -> tuple[str, ...]:
    """Read the texts that keep_data wrote; raises FileNotFoundError where it did not."""
    return tuple(json.loads(read_file(store, _texts_name(fingerprint))))


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
    except OSError as error:
        raise InputError(
            f"The CSV of study {run.study_name!r} is not here, and its store {run.store} cannot be"
            f" read: {error}. Name the CSV with --data, or set workers.store to a folder or URL"
            " that all machines reach."
        ) from error
    names, class_column = tuple(attrs[LABELS]), run.config.data.class_column
    dataset = Dataset(texts, arrays.labels, names, run.store, class_column)
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


def _texts_name(fingerprint: str) -> str:
    return f"texts/{fingerprint}.json"
