from typing import Any

import numpy as np
import pytest

from orchestrator.decisions.decide import MIN_EXAMPLES, Decisions, decide, take
from shared.config.sections import DecisionsConfig

N_ROWS = 1500
FOLDS = [np.arange(i, N_ROWS, 5) for i in range(5)]
RNG = np.random.default_rng(0)
TRUE = RNG.beta(0.7, 3, (N_ROWS, 2))
LABELS = (RNG.uniform(size=TRUE.shape) < TRUE).astype(np.float32)
SURER = (TRUE**2 / (TRUE**2 + (1 - TRUE) ** 2)).astype(np.float32)
PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.45, 0.45]], dtype=np.float32)


def _decide(labels: np.ndarray = LABELS, **settings: Any) -> Decisions:
    return decide(labels, SURER, FOLDS, DecisionsConfig(**settings), "multilabel")


def _decided(found: Decisions) -> np.ndarray:
    calibrated = [curve(scores) for curve, scores in zip(found.curves, SURER.T, strict=True)]
    return np.transpose(calibrated) >= np.array(found.thresholds)


def test_each_label_is_calibrated_by_what_was_chosen_for_it() -> None:
    found = _decide()
    assert [curve.method for curve in found.curves] == ["temperature", "temperature"]
    assert [curve.temperature for curve in found.curves] == pytest.approx([2, 2], rel=0.2)
    assert np.abs(found.cross_fitted - TRUE).mean() < np.abs(SURER - TRUE).mean() / 2


@pytest.mark.parametrize("method", ["none", "temperature", "isotonic"])
def test_the_method_that_is_asked_for_is_taken(method: str) -> None:
    assert [curve.method for curve in _decide(calibration=method).curves] == [method] * 2


def test_thresholds_are_for_calibrated_probabilities_and_give_the_same_decisions() -> None:
    none, isotonic = (_decide(calibration=method) for method in ("none", "isotonic"))
    assert none.thresholds != isotonic.thresholds
    np.testing.assert_array_equal(_decided(none), _decided(isotonic))


@pytest.mark.parametrize(("aim", "kept"), [("precision", "given"), ("recall", "there")])
def test_a_floor_is_kept_on_the_rows_that_were_decided_from(aim: str, kept: str) -> None:
    decided = _decided(_decide(threshold=aim, floor=0.6))
    hits = (decided & (LABELS > 0)).sum(axis=0)
    of = {"given": decided.sum(axis=0), "there": LABELS.sum(axis=0)}
    assert (hits / of[kept] >= 0.6).all()
    assert (hits > 0).all()


def test_a_floor_out_of_reach_is_said_and_the_most_precise_threshold_taken() -> None:
    chance = np.random.default_rng(1).permutation(LABELS)
    first, second = _decide(chance, threshold="precision", floor=0.99).labels
    for one in (first, second):
        assert one.note == ("no threshold reaches a precision of 0.99: it has the most precise one")
        assert one.threshold is not None
        assert 0 < one.threshold < 1


@pytest.mark.parametrize(
    ("settings", "threshold"),
    [
        ({"threshold": "f1"}, 0.5),
        ({"threshold": "cost", "false_positive_cost": 1, "false_negative_cost": 3}, 0.25),
    ],
)
@pytest.mark.parametrize("is_rare", [True, False])
def test_a_label_of_too_few_rows_keeps_its_probabilities_and_a_plain_threshold(
    settings: dict[str, Any], threshold: float, is_rare: bool
) -> None:
    labels = LABELS.copy()
    labels[:, 0] = np.arange(N_ROWS) < MIN_EXAMPLES - 1 if is_rare else 1
    found = _decide(labels, **settings)
    rare, common = found.labels
    assert (rare.curve.method, rare.threshold) == ("none", threshold)
    assert f"of {N_ROWS} rows have it, and it takes 10 with and without" in str(rare.note)
    assert common.note is None
    np.testing.assert_array_equal(found.cross_fitted[:, 0], SURER[:, 0])


@pytest.mark.parametrize(("method", "is_tempered"), [("auto", True), ("none", False)])
def test_classes_get_one_temperature_and_no_thresholds(method: str, is_tempered: bool) -> None:
    classes = np.column_stack([LABELS[:, 0], 1 - LABELS[:, 0]])
    said = np.column_stack([SURER[:, 0], 1 - SURER[:, 0]])
    found = decide(classes, said, FOLDS, DecisionsConfig(calibration=method), "multiclass")
    assert found.thresholds is None
    first, second = found.curves
    assert first == second
    assert first.temperature == pytest.approx(2 if is_tempered else 1, rel=0.2)
    np.testing.assert_allclose(found.cross_fitted.sum(axis=1), 1, atol=1e-6)


def test_labels_are_given_from_their_thresholds_on() -> None:
    decided = take(PROBABILITIES, (0.5, 0.4, 0.1))
    assert decided.tolist() == [[True, False, True], [False, True, True]]


def test_of_classes_the_most_probable_is_given_the_first_of_equals() -> None:
    assert take(PROBABILITIES, None).tolist() == [[True, False, False], [False, True, False]]
