from pathlib import Path

import numpy as np
import pytest

from orchestrator.bundle.reference import read_reference, take_reference, write_reference

VECTORS = np.arange(60, dtype=np.float32).reshape(20, 3)
LABELS = np.tile(np.array([[0, 1], [1, 1]], dtype=np.float32), (10, 1))
ROWS = np.arange(5, 15)
HASHES = np.array([7, 2**64 - 1, 7], dtype=np.uint64)


def test_it_counts_all_rows_and_keeps_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.bundle.reference.MAX_VECTORS", 4)
    reference = take_reference(VECTORS, LABELS, ROWS, HASHES, 0)
    assert (reference.n_rows, reference.positives.tolist()) == (10, [5, 10])
    kept = {tuple(vector) for vector in reference.vectors.tolist()}
    assert len(kept) == 4
    assert kept < {tuple(vector) for vector in VECTORS[ROWS].tolist()}


def test_few_rows_are_all_kept() -> None:
    np.testing.assert_array_equal(
        take_reference(VECTORS, LABELS, ROWS, HASHES, 0).vectors, VECTORS[ROWS]
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    reference = take_reference(VECTORS, LABELS, ROWS, HASHES, 0)
    write_reference(tmp_path / "reference.npz", reference)
    read = read_reference(tmp_path / "reference.npz")
    np.testing.assert_array_equal(read.vectors, reference.vectors)
    assert (read.positives.tolist(), read.n_rows) == (reference.positives.tolist(), 10)
    assert read.text_hashes.tolist() == [7, 2**64 - 1]
