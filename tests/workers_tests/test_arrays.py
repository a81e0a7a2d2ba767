from dataclasses import replace
from pathlib import Path

import numpy as np

from shared.store import Store
from workers import SearchArrays, read_arrays, write_arrays


def test_arrays_come_back_from_the_store_with_all_their_folds(
    tmp_path: Path, arrays: SearchArrays
) -> None:
    folds = [(np.arange(i), np.arange(i, 160)) for i in range(100, 112)]
    write_arrays(Store(str(tmp_path)), "f", replace(arrays, folds=tuple(folds)))
    read = read_arrays(Store(str(tmp_path)), "f")
    np.testing.assert_array_equal(read.vectors, arrays.vectors)
    np.testing.assert_array_equal(read.labels, arrays.labels)
    assert [[len(rows) for rows in fold] for fold in read.folds] == [
        [i, 160 - i] for i in range(100, 112)
    ]
