import numpy as np
import pytest

from shared.training import inputs
from shared.training.inputs import find_reading, width_of
from shared.training.params import InputParams
from tests.shared_tests.training.conftest import WIDTHS
from workers import SearchArrays

ROWS = np.arange(0, 120, 3)


def test_a_head_reads_the_columns_of_its_encoders(arrays: SearchArrays) -> None:
    x = arrays.vectors
    for encoders, expected in (
        (("second",), x[:, 3:]),
        (("second", "first"), np.hstack([x[:, 3:], x[:, :3]])),
        ((), x),
    ):
        params = InputParams(encoders)
        read = find_reading(params, WIDTHS, x, ROWS)(x)
        np.testing.assert_array_equal(read, expected)
        assert width_of(params, WIDTHS) == expected.shape[1]


def test_each_encoders_vector_gets_length_1_and_an_empty_one_stays_empty(
    arrays: SearchArrays,
) -> None:
    vectors = arrays.vectors.copy()
    vectors[0, 3:] = 0
    read = find_reading(InputParams(l2_normalize=True), WIDTHS, vectors, ROWS)(vectors)
    np.testing.assert_allclose(np.linalg.norm(read[:, :3], axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(read[1:, 3:], axis=1), 1, rtol=1e-6)
    assert not read[0, 3:].any()


@pytest.mark.parametrize("l2_normalize", [False, True])
def test_inputs_are_standardized_by_the_known_rows_alone(
    arrays: SearchArrays, l2_normalize: bool
) -> None:
    params = InputParams(l2_normalize=l2_normalize, standardize=True)
    read = find_reading(params, WIDTHS, arrays.vectors, ROWS)(arrays.vectors)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read[ROWS].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(read[ROWS].std(axis=0), 1, rtol=1e-5)
    assert abs(read.mean(axis=0)).max() > 0.01


def test_a_column_that_is_constant_in_the_known_rows_is_only_centred(
    arrays: SearchArrays,
) -> None:
    vectors = arrays.vectors.copy()
    vectors[:, 2] = 0.1
    vectors[1, 2] = 0.3
    read = find_reading(InputParams(standardize=True), WIDTHS, vectors, ROWS)(vectors)
    np.testing.assert_allclose(read[ROWS, 2], 0, atol=1e-6)
    assert read[1, 2] == pytest.approx(0.2)


def test_the_statistics_of_many_rows_are_taken_in_parts(
    arrays: SearchArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = InputParams(standardize=True)
    whole = find_reading(params, WIDTHS, arrays.vectors, ROWS)
    monkeypatch.setattr(inputs, "CHUNK", 7)
    in_parts = find_reading(params, WIDTHS, arrays.vectors, ROWS)
    np.testing.assert_allclose(in_parts.mean, whole.mean, rtol=1e-6)
    np.testing.assert_allclose(in_parts.deviation, whole.deviation, rtol=1e-6)
