import json
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.data.dataset import Dataset
from orchestrator.data.splits import (
    Split,
    make_folds,
    make_split,
    make_trial_folds,
    read_split,
    write_split,
)
from shared.config.sections import DataConfig, StudyConfig


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Draw 60 to 200 rows, some texts of which come twice, with one to four labels."""
    n = draw(st.integers(60, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    texts = tuple(f"text {i}" for i in rng.integers(0, n * 2, size=n))
    n_labels = draw(st.integers(1, 4))
    labels = (rng.random((n, n_labels)) < rng.uniform(0.1, 0.6, n_labels)).astype(np.float32)
    return Dataset(texts, labels, tuple("abcd"[:n_labels]), "drawn")


def _groups(dataset: Dataset) -> np.ndarray:
    return np.unique(dataset.texts, return_inverse=True)[1]


def _split(dataset: Dataset, seed: int, **settings: float) -> Split:
    return make_split(dataset, _groups(dataset), DataConfig(**settings), seed)


def _texts(dataset: Dataset, rows: np.ndarray) -> set[str]:
    return {dataset.texts[row] for row in rows}


@settings(deadline=None, max_examples=25)
@given(datasets(), st.integers(0, 1000))
def test_a_split_has_every_row_once_and_no_text_twice(dataset: Dataset, seed: int) -> None:
    split = _split(dataset, seed)
    parts = (split.train, split.valid, split.test)
    assert sorted(np.concatenate(parts)) == list(range(len(dataset.texts)))
    sets = [_texts(dataset, part) for part in parts]
    assert sum(map(len, sets)) == len(set(dataset.texts))
    assert split.fingerprint == _split(dataset, seed).fingerprint


@settings(deadline=None, max_examples=25)
@given(datasets(), st.integers(2, 5), st.integers(0, 1000))
def test_folds_hold_each_row_out_once_and_part_no_text(
    dataset: Dataset, n_folds: int, seed: int
) -> None:
    rows = np.arange(0, len(dataset.texts), 2)
    folds = make_folds(dataset, _groups(dataset), rows, n_folds, seed)
    assert len(folds) == n_folds
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(rows)
    for kept, held_out in folds:
        assert sorted(np.concatenate([kept, held_out])) == list(rows)
        assert not _texts(dataset, kept) & _texts(dataset, held_out)


def _many(n: int = 2000) -> Dataset:
    rng = np.random.default_rng(0)
    labels = (rng.random((n, 3)) < (0.5, 0.1, 0.02)).astype(np.float32)
    return Dataset(tuple(map(str, range(n))), labels, ("a", "b", "c"), "made")


def test_parts_have_the_asked_sizes_and_the_labels_shares() -> None:
    dataset = _many()
    split = _split(dataset, 42, test_fraction=0.25, valid_fraction=0.2)
    sizes = [len(part) / 2000 for part in (split.train, split.valid, split.test)]
    np.testing.assert_allclose(sizes, [0.6, 0.15, 0.25], atol=0.01)
    for part in (split.train, split.valid, split.test):
        expected = dataset.labels.mean(axis=0)
        np.testing.assert_allclose(dataset.labels[part].mean(axis=0), expected, rtol=0.1)


def test_rare_classes_have_their_share_of_every_part_and_fold() -> None:
    classes = np.random.default_rng(0).choice(4, 1000, p=(0.6, 0.3, 0.08, 0.02))
    labels = np.eye(4, dtype=np.float32)[classes]
    dataset = Dataset(tuple(map(str, range(1000))), labels, tuple("abcd"), "made", "class")
    split = _split(dataset, 42)
    folds = [held_out for _, held_out in make_folds(dataset, _groups(dataset), split.train, 5, 42)]
    for part in (split.train, split.valid, split.test, *folds):
        expected = labels.sum(axis=0) * len(part) / len(labels)
        np.testing.assert_allclose(labels[part].sum(axis=0), expected, atol=1.5)


def test_rows_of_a_group_stay_together_whatever_their_texts() -> None:
    dataset, groups = _many(200), np.arange(200) // 2
    split = make_split(dataset, groups, DataConfig(), 1)
    folds = make_folds(dataset, groups, split.train, 3, 1)
    for rows in (split.train, split.valid, split.test, *(held_out for _, held_out in folds)):
        assert (np.unique(groups[rows], return_counts=True)[1] == 2).all()


def test_another_seed_is_another_split() -> None:
    dataset = _many(200)
    prints = {_split(dataset, seed).fingerprint for seed in range(5)}
    assert len(prints) == 5


def test_the_fold_of_a_trial_is_the_split_itself() -> None:
    split = _split(_many(200), 1)
    ((train, valid),) = make_trial_folds(_many(200), np.arange(200), split, StudyConfig())
    assert train is split.train
    assert valid is split.valid


def test_repeated_folds_hold_each_known_row_out_once_a_repeat_and_no_test_row() -> None:
    dataset = _many(200)
    split = _split(dataset, 1)
    folds = make_trial_folds(
        dataset, _groups(dataset), split, StudyConfig(n_folds=3, n_repeats=2, seed=1)
    )
    known = sorted([*split.train, *split.valid])
    assert len(folds) == 6
    for repeat in (folds[:3], folds[3:]):
        assert sorted(np.concatenate([held_out for _, held_out in repeat])) == known
    assert folds[0][1].tolist() != folds[3][1].tolist()


def test_a_split_is_written_for_people_and_programs(tmp_path: Path) -> None:
    split = _split(_many(200), 42)
    write_split(tmp_path / "split.json", split)
    written = json.loads((tmp_path / "split.json").read_text())
    assert written["fingerprint"] == split.fingerprint
    assert written["test"] == split.test.tolist()


def test_a_split_comes_back_as_it_was_written(tmp_path: Path) -> None:
    split = Split(np.array([4, 7]), np.array([1]), np.array([0, 2]), "f")
    write_split(tmp_path / "split.json", split)
    found = read_split(tmp_path / "split.json")
    assert found.fingerprint == "f"
    for part in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(found, part), getattr(split, part))
