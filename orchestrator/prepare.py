"""Prepare what a search starts from: texts, labels, embeddings, split."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from orchestrator.progress import show_progress, with_rate
from orchestrator.restore import ENCODER, restore
from orchestrator.run import Run
from orchestrator.sharing import fetch_embeddings, share_embeddings
from shared.data.dataset import Dataset, load_dataset, require_rows
from shared.data.embeddings import Embeddings, embed, embeddings_key
from shared.data.encoder import Encoder, resolve_encoder
from shared.data.splits import Fold, Split, make_split, make_trial_folds
from workers import launch_encoders


@dataclass(frozen=True)
class Prepared:
    """Hold what the search starts from; the fingerprint covers all of it.

    `folds` are what each trial is trained on and measured by, one after the other.
    """

    dataset: Dataset
    encoder: Encoder
    embeddings: Embeddings
    split: Split
    folds: tuple[Fold, ...]

    @property
    def fingerprint(self) -> str:
        """The hash of texts, labels, encoder, split and folds."""
        return hash_of(self.embeddings.key + self.split.fingerprint + self._folds_hash)

    @property
    def parts(self) -> dict[str, str]:
        """The hashes of what the fingerprint covers, causes before consequences."""
        names, labels = self.dataset.label_names, self.dataset.labels
        return {
            "the texts": hash_of(json.dumps(self.dataset.texts)),
            "the labels": hash_of(json.dumps([names, labels.tolist()])),
            ENCODER: self.encoder.revision,
            "the split": self.split.fingerprint,
            "the folds": self._folds_hash,
        }

    @property
    def _folds_hash(self) -> str:
        return hash_of(json.dumps([[rows.tolist() for rows in fold] for fold in self.folds]))


def prepare(run: Run, console: Console) -> Prepared:
    """Read the CSV, embed its texts and split its rows; what is there already is taken as it is.

    Where there is no CSV, a study that has been searched gives the data from its store.
    """
    restored = restore(run) if run.config.data.csv is None else None
    dataset, encoder, embeddings = restored or _read_and_embed(run, console)
    _require_rows(run, dataset)
    split = make_split(dataset, run.config.data, run.config.study.seed)
    folds = make_trial_folds(dataset, split, run.config.study)
    return Prepared(dataset, encoder, embeddings, split, folds)


def _read_and_embed(run: Run, console: Console) -> tuple[Dataset, Encoder, Embeddings]:
    dataset = load_dataset(run.config.data)
    _require_rows(run, dataset)
    encoder = resolve_encoder(run.config.encoder)
    n_distinct = len(set(dataset.texts))
    key = embeddings_key(dataset.texts, encoder)
    fetch_embeddings(run, key)
    config = run.config
    encoding = partial(launch_encoders, config.workers, config.encoder.n_workers, run.ray_address)
    with show_progress(console, "Embedding", n_distinct) as update:
        show = with_rate(update, "texts")
        embeddings = embed(dataset.texts, encoder, run.paths.embeddings, show, encoding)
        update(n_distinct, "")
    share_embeddings(run, key)
    if embeddings.n_truncated:
        console.print(
            f"{embeddings.n_truncated} of {n_distinct} texts are longer than the encoder's"
            f" {embeddings.max_seq_length} tokens; what is beyond does not count."
        )
    return dataset, encoder, embeddings


def _require_rows(run: Run, dataset: Dataset) -> None:
    require_rows(dataset, max(run.config.ensemble.n_folds, run.config.study.n_folds or 0))


def hash_of(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
