"""Prepare what a search starts from: texts, labels, embeddings, split."""

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
from rich.console import Console

from orchestrator.bundle.location import fetch_embeddings, share_embeddings
from orchestrator.data.dataset import Dataset, load_dataset, require_rows
from orchestrator.data.duplicates import Groups, group_texts
from orchestrator.data.embeddings import Embeddings, embed, embeddings_key
from orchestrator.data.splits import Split, make_split, make_trial_folds
from orchestrator.data.stored import Restored, known_revisions, part_of, restore
from orchestrator.data.summary import describe_data, describe_split
from orchestrator.runs.run import Run
from orchestrator.terminal.progress import show_lines, show_progress, show_wait, with_rate
from shared.encoding.encoder import Encoder, resolve_encoder
from shared.errors import InputError
from shared.training.inputs import Fold
from workers import launch_encoders

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Hold what the search starts from; the fingerprint covers all of it.

    Encoders, and what each made of the texts, are in order, by what the study calls them. `groups`
    has rows that no split may part. `folds` are what each trial is trained on and measured by, one
    after the other.
    """

    dataset: Dataset
    encoders: Mapping[str, Encoder]
    embeddings: Mapping[str, Embeddings]
    groups: Groups
    split: Split
    folds: tuple[Fold, ...]

    @property
    def widths(self) -> dict[str, int]:
        """How many columns each encoder's vectors have."""
        return {name: one.vectors.shape[1] for name, one in self.embeddings.items()}

    @cached_property
    def vectors(self) -> npt.NDArray[np.float32]:
        """The (n, D) vectors of all encoders side by side: one's as they are, else in memory."""
        vectors = [one.vectors for one in self.embeddings.values()]
        return vectors[0] if len(vectors) == 1 else np.concatenate(vectors, axis=1)

    def only(self, names: Iterable[str]) -> "Prepared":
        """Return the same with some of the encoders alone, in the order given."""
        chosen = tuple(names)
        if chosen == tuple(self.encoders):
            return self
        return replace(
            self,
            encoders={name: self.encoders[name] for name in chosen},
            embeddings={name: self.embeddings[name] for name in chosen},
        )

    @property
    def fingerprint(self) -> str:
        """The hash of texts, labels, encoders, split and folds."""
        keys = "".join(one.key for one in self.embeddings.values())
        return hash_of(keys + self.split.fingerprint + self._folds_hash)

    @property
    def parts(self) -> dict[str, str]:
        """The hashes of what the fingerprint covers, causes before consequences."""
        names, labels = self.dataset.label_names, self.dataset.labels
        return {
            "the texts": hash_of(json.dumps(self.dataset.texts)),
            "the labels": hash_of(json.dumps([names, labels.tolist()])),
            **{part_of(name, self.encoders): one.revision for name, one in self.encoders.items()},
            "the split": self.split.fingerprint,
            "the folds": self._folds_hash,
        }

    @property
    def _folds_hash(self) -> str:
        return hash_of(json.dumps([[rows.tolist() for rows in fold] for fold in self.folds]))


def prepare(run: Run, console: Console) -> Prepared:
    """Read the files, embed its texts and split its rows; what is there already is taken as it is.

    Where there are none, a study that has been searched gives the data from its store.
    """
    restored = restore(run) if not run.config.data.csv else None
    if restored is not None:
        show_lines(console, describe_data(restored[0], run.config.all_encoders))
    dataset, encoders, embeddings = restored or _read_and_embed(run, console)
    groups = group_texts(dataset.texts, [one.vectors for one in embeddings.values()])
    _require_rows(run, dataset, groups)
    _tell_duplicates(dataset, groups, console)
    split = make_split(dataset, groups, run.config.data, run.config.study.seed)
    folds = make_trial_folds(dataset, groups, split, run.config.study)
    _require_positives(dataset, split, folds)
    show_lines(console, [describe_split(split, folds)])
    return Prepared(dataset, encoders, embeddings, groups, split, folds)


def _read_and_embed(run: Run, console: Console) -> Restored:
    dataset = load_dataset(run.config.data)
    _require_rows(run, dataset, group_texts(dataset.texts))
    known, configs = known_revisions(run), run.config.all_encoders
    show_lines(console, describe_data(dataset, configs))
    with show_wait(console, f"Looking for {', '.join(configs)}"):
        encoders = {name: resolve_encoder(one, known.get(name)) for name, one in configs.items()}
    _require_distinct(encoders)
    embeddings = {
        name: _embed(run, dataset.texts, name, encoder, console)
        for name, encoder in encoders.items()
    }
    return dataset, encoders, embeddings


def _embed(
    run: Run, texts: Sequence[str], name: str, encoder: Encoder, console: Console
) -> Embeddings:
    n_distinct = len(set(texts))
    key = embeddings_key(texts, encoder)
    fetch_embeddings(run, key)
    n_workers = run.config.all_encoders[name].n_workers
    encoding = partial(launch_encoders, run.config.workers, n_workers, run.ray_address)
    with show_progress(console, "Embedding", n_distinct) as update:
        show = with_rate(update, "texts")
        embeddings = embed(texts, encoder, run.paths.embeddings, show, encoding)
        update(n_distinct, "")
    share_embeddings(run, key)
    if embeddings.n_truncated:
        console.print(
            f"{embeddings.n_truncated} of {n_distinct} texts are longer than the"
            f" {embeddings.max_seq_length} tokens that {name} reads; what is beyond does"
            " not count."
        )
    return embeddings


def _require_distinct(encoders: Mapping[str, Encoder]) -> None:
    """Refuse two names of one encoder before the texts are embedded twice."""
    known: dict[tuple[str, int | None, str | None], str] = {}
    for name, one in encoders.items():
        other = known.setdefault((one.revision, one.max_seq_length, one.prompt), name)
        if other != name:
            raise InputError(
                f"encoders: {other!r} and {name!r} are the same encoder. Leave one of them out."
            )


def _tell_duplicates(dataset: Dataset, groups: Groups, console: Console) -> None:
    n_distinct = len(set(dataset.texts))
    n_duplicates = n_distinct - len(np.unique(groups))
    if n_duplicates:
        line = (
            "Texts that repeat another but for case, white space, Unicode form or what an encoder"
            f" does not tell apart: {n_duplicates:,} of {n_distinct:,}. They stay on its side of"
            " every split."
        )
        show_lines(console, [line])


def _require_rows(run: Run, dataset: Dataset, groups: Groups) -> None:
    """Refuse texts that are too few to be divided as is asked for."""
    n_folds = max(run.config.ensemble.n_folds, run.config.study.n_folds or 0)
    require_rows(dataset, groups, n_folds)
    data, n_texts = run.config.data, len(np.unique(groups))
    n_known = n_texts - math.ceil(data.test_fraction * n_texts)
    n_train = n_known - math.ceil(data.valid_fraction * n_known)
    if n_known < n_folds or n_train < 1:
        raise InputError(
            f"{dataset.source}: of {n_texts} distinct texts, data.test_fraction"
            f" {data.test_fraction:g} leaves {n_known} for {n_folds} folds, and data.valid_fraction"
            f" {data.valid_fraction:g} leaves {n_train} of these to train on. Lower them."
        )


def _require_positives(dataset: Dataset, split: Split, folds: Sequence[Fold]) -> None:
    """Refuse rows that nothing can be measured on before a search has gone into it.

    A small part of the rows may have none of the few that a rare label has.
    """
    parts = [("the test split", split.test, "data.test_fraction")]
    parts += [("what trials are measured on", rows, "data.valid_fraction") for _, rows in folds]
    for part, rows, fraction in parts:
        if not dataset.labels[rows].any():
            raise InputError(
                f"{dataset.source}: {part} must have a row with a label that is 1, but none of the"
                f" {len(rows)} has. Raise {fraction}, lower study.n_folds, or add such rows."
            )


def hash_of(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
