"""Divide rows into train, valid and test, and into folds: stratified, and whole by group."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orchestrator.data.dataset import Dataset
from shared.config.sections import DataConfig, StudyConfig
from shared.files import writing
from shared.training.inputs import Fold, Rows

Groups = npt.NDArray[np.int64]
"""(n,) the number of each row's group: texts that must not be told from each other."""


@dataclass(frozen=True)
class Split:
    """Hold the rows of each part; the fingerprint covers them and the dataset."""

    train: Rows
    valid: Rows
    test: Rows
    fingerprint: str


def make_split(dataset: Dataset, groups: Groups, config: DataConfig, seed: int) -> Split:
    """Divide a dataset: test_fraction of the groups for the test, valid_fraction of the rest.

    Iterative stratification keeps each label's share in every part (Sechidis et al. 2011, "On the
    stratification of multi-label data"). Rows of one group stay together.
    """
    rows = np.arange(len(dataset.texts))
    known, test = _hold_out(dataset, groups, rows, config.test_fraction, seed)
    train, valid = _hold_out(dataset, groups, known, config.valid_fraction, seed + 1)
    return Split(train, valid, test, _fingerprint(dataset, train, valid, test))


def make_folds(dataset: Dataset, groups: Groups, rows: Rows, n_folds: int, seed: int) -> list[Fold]:
    """Divide rows into n_folds folds; each row is held out once, with all of its group."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    members, labels = _members(dataset, groups, rows)
    folds = MultilabelStratifiedKFold(n_folds, shuffle=True, random_state=seed)
    return [
        (_rows_of(members, kept), _rows_of(members, held_out))
        for kept, held_out in folds.split(labels, labels)
    ]


def make_trial_folds(
    dataset: Dataset, groups: Groups, split: Split, config: StudyConfig
) -> tuple[Fold, ...]:
    """Return the folds of each trial: the split itself, or those of its known rows, all repeats."""
    if config.n_folds is None:
        return ((split.train, split.valid),)
    known = np.sort(np.concatenate([split.train, split.valid]))
    seeds = range(config.seed, config.seed + config.n_repeats)
    return tuple(
        fold for seed in seeds for fold in make_folds(dataset, groups, known, config.n_folds, seed)
    )


def write_split(path: Path, split: Split) -> None:
    """Write a split as JSON, atomically."""
    parts = {name: getattr(split, name).tolist() for name in ("train", "valid", "test")}
    values = {"fingerprint": split.fingerprint} | parts
    with writing(path) as unfinished:
        unfinished.write_text(json.dumps(values), encoding="utf-8")


def read_split(path: Path) -> Split:
    """Read what write_split wrote."""
    values = json.loads(path.read_text(encoding="utf-8"))
    parts = {n: np.array(values[n], dtype=np.int64) for n in ("train", "valid", "test")}
    return Split(**parts, fingerprint=values["fingerprint"])


def _hold_out(
    dataset: Dataset, groups: Groups, rows: Rows, fraction: float, seed: int
) -> tuple[Rows, Rows]:
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    members, labels = _members(dataset, groups, rows)
    splitter = MultilabelStratifiedShuffleSplit(1, test_size=fraction, random_state=seed)
    kept, held_out = next(splitter.split(labels, labels))
    return _rows_of(members, kept), _rows_of(members, held_out)


def _members(
    dataset: Dataset, groups: Groups, rows: Rows
) -> tuple[list[list[int]], npt.NDArray[np.float32]]:
    """Return the rows of each group, and its labels: those that any of its rows has.

    A single label is joined by its opposite: iterative stratification is for two or more.
    """
    members: dict[int, list[int]] = {}
    for row in rows:
        members.setdefault(int(groups[row]), []).append(int(row))
    labels = np.array([dataset.labels[own].max(axis=0) for own in members.values()])
    if labels.shape[1] == 1:
        labels = np.hstack([labels, 1 - labels])
    return list(members.values()), labels


def _rows_of(members: list[list[int]], chosen: Rows) -> Rows:
    return np.sort(np.concatenate([members[i] for i in chosen])).astype(np.int64)


def _fingerprint(dataset: Dataset, *parts: Rows) -> str:
    digest = hashlib.sha256(dataset.fingerprint.encode())
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part.tobytes())
    return digest.hexdigest()
