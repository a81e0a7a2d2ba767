import numpy as np
import pytest

from orchestrator.bundle.drift import holm, label_drift, text_drift
from orchestrator.bundle.reference import Reference

RNG = np.random.default_rng(0)
HASHES = np.array([], dtype=np.uint64)
REFERENCE = Reference(
    RNG.normal(size=(200, 16)).astype(np.float32), np.array([100, 10, 0]), 1000, HASHES
)
NAMES = ("a", "b", "c")


def _labels(n: int, *positives: int) -> np.ndarray:
    return np.column_stack([np.arange(n) < count for count in positives]).astype(np.float32)


def test_shares_as_in_training_are_no_drift() -> None:
    found = label_drift(REFERENCE, _labels(500, 50, 5, 0), NAMES)
    assert all(one.p_value == 1 for one in found.values())
    assert (found["a"].training_share, found["a"].new_share) == (0.1, 0.1)


def test_a_share_that_has_doubled_is_drift_and_the_others_are_not() -> None:
    found = label_drift(REFERENCE, _labels(500, 100, 5, 0), NAMES)
    assert found["a"].p_value < 1e-4
    assert found["b"].p_value > 0.5


def test_a_label_that_was_never_there_in_training_can_drift() -> None:
    assert label_drift(REFERENCE, _labels(500, 50, 5, 30), NAMES)["c"].p_value < 1e-6


def test_classes_that_change_places_are_drift() -> None:
    known = Reference(REFERENCE.vectors, np.array([500, 400, 100]), 1000, HASHES)
    classes = np.repeat([0, 1, 2], [80, 100, 20])
    found = label_drift(known, np.eye(3, dtype=np.float32)[classes], NAMES)
    assert [name for name, one in found.items() if one.p_value < 0.05] == ["a", "b"]


def test_holm_adjusts_step_by_step_and_never_downwards() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_texts_like_those_of_training_are_no_drift_in_nineteen_of_twenty_cases() -> None:
    p_values = [
        text_drift(REFERENCE, RNG.normal(size=(50, 16)).astype(np.float32), seed).p_value
        for seed in range(40)
    ]
    assert np.mean(np.array(p_values) < 0.05) < 0.15
    assert 0.3 < np.mean(p_values) < 0.7


@pytest.mark.parametrize("n_new", [30, 1500])
def test_other_texts_are_drift(n_new: int) -> None:
    other = (RNG.normal(size=(n_new, 16)) + 0.5).astype(np.float32)
    found = text_drift(REFERENCE, other, 0)
    assert found.p_value == pytest.approx(0.001)
    assert (found.n_training, found.n_new) == (200, min(n_new, 1000))


def test_the_same_texts_again_have_no_distance() -> None:
    assert text_drift(REFERENCE, REFERENCE.vectors, 0).mmd2 == pytest.approx(0, abs=1e-12)


def test_a_single_text_can_be_compared() -> None:
    assert 0 < text_drift(REFERENCE, REFERENCE.vectors[:1], 0).p_value <= 1
