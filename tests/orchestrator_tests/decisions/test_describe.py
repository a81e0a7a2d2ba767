import json

import numpy as np
import pytest

from orchestrator.decisions.calibration import Curve
from orchestrator.decisions.decide import Decisions, LabelDecision
from orchestrator.decisions.describe import describe_decisions
from orchestrator.evaluation.scores import Scores
from shared.config.sections import DecisionsConfig

LABELS = np.array([[1, 0], [0, 1], [1, 0], [0, 0]], dtype=np.float32)
CALIBRATED = np.array([[0.4, 0.2], [0.1, 0.6], [0.3, 0.1], [0.2, 0.7]], dtype=np.float32)
DECISIONS = Decisions(
    (
        LabelDecision(Curve("temperature", temperature=2.0), 0.25),
        LabelDecision(Curve(), 0.5, "a note"),
    ),
    cross_fitted=LABELS.astype(np.float64),
)
SCORES = {
    name: Scores(np.arange(4), LABELS, probabilities)
    for name, probabilities in (
        ("test", CALIBRATED),
        ("uncalibrated", 1 - LABELS),
        ("out_of_fold", 1 - LABELS),
    )
}


@pytest.fixture(scope="module")
def found() -> dict:
    config = DecisionsConfig(threshold="precision", floor=0.75)
    found = describe_decisions(DECISIONS, config, SCORES, ("a", "b"), "multilabel")
    assert json.loads(json.dumps(found)) == found
    return found


def test_decisions_are_measured_at_their_thresholds_and_at_a_half(found: dict) -> None:
    assert found["test"]["f1_macro"] == pytest.approx({"half": 1 / 3, "tuned": (1 + 2 / 3) / 2})
    assert found["test"]["f1_micro"] == pytest.approx({"half": 2 / 5, "tuned": 6 / 7})


def test_probabilities_are_measured_before_and_after_calibration(found: dict) -> None:
    assert found["test"]["uncalibrated"]["brier"] == 1
    expected = np.mean((CALIBRATED - LABELS) ** 2)
    assert found["test"]["calibrated"]["brier"] == pytest.approx(expected)
    out_of_fold = found["out_of_fold"]
    assert (out_of_fold["uncalibrated"]["ece"], out_of_fold["calibrated"]["ece"]) == (1, 0)


def test_what_was_asked_for_is_said_in_words(found: dict) -> None:
    assert found["asked"]["threshold"] == "precision"
    assert found["chosen_for"] == "the most recall at a precision of at least 0.75"
    assert found["per_label"]["a"] == {
        "threshold": 0.25,
        "calibration": "temperature",
        "temperature": 2.0,
        "note": None,
    }
    assert found["per_label"]["b"]["note"] == "a note"


def test_classes_have_no_f1_at_thresholds() -> None:
    one = LabelDecision(Curve("temperature", temperature=2.0), threshold=None)
    decisions = Decisions((one, one), cross_fitted=LABELS.astype(np.float64))
    found = describe_decisions(decisions, DecisionsConfig(), SCORES, ("a", "b"), "multiclass")
    assert found["test"].keys() == {"uncalibrated", "calibrated"}
    assert found["per_label"]["b"]["temperature"] == 2
