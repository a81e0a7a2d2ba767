"""Tell what was decided of an ensemble's probabilities, and what good it does."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.decisions.decide import HALF, Decisions
from orchestrator.evaluation.quality import f1, trueness
from orchestrator.evaluation.scores import Scores
from shared.config.sections import DecisionsConfig
from shared.training.params import Task

AIMS = {
    "f1": "the highest F1",
    "precision": "the most recall at a precision of at least {floor:g}",
    "recall": "the most precision at a recall of at least {floor:g}",
    "cost": "the least cost, {false_positive_cost:g} for giving a label wrongly and"
    " {false_negative_cost:g} for missing it",
    "half": "no figure: all are 0.5",
}
"""What each way of choosing thresholds is called."""


def describe_decisions(
    decisions: Decisions,
    config: DecisionsConfig,
    scores: Mapping[str, Scores],
    label_names: Sequence[str],
    task: Task,
) -> dict[str, Any]:
    """Measure decisions, as plain values for JSON: on the test rows, and out of fold.

    `scores` has `uncalibrated`, the ensemble without calibration on the test rows, `test`, the same
    with it, and `out_of_fold`, the members without it on the rows that they did not train on.
    F1 is that of calibrated probabilities, at 0.5 and at the labels' own thresholds; classes, which
    have none, have neither.
    """
    test, known = scores["test"], scores["out_of_fold"]
    asked = config.model_dump(mode="json")
    return {
        "asked": asked,
        "chosen_for": AIMS[config.threshold].format(**asked),
        "test": {
            "uncalibrated": trueness(test.labels, scores["uncalibrated"].probabilities, task),
            "calibrated": trueness(test.labels, test.probabilities, task),
            **({} if decisions.thresholds is None else _f1(test, decisions.thresholds)),
        },
        "out_of_fold": {
            "uncalibrated": trueness(known.labels, known.probabilities, task),
            "calibrated": trueness(known.labels, decisions.cross_fitted, task),
        },
        "per_label": {
            name: {
                "threshold": one.threshold,
                "calibration": one.curve.method,
                "temperature": one.curve.temperature,
                "note": one.note,
            }
            for name, one in zip(label_names, decisions.labels, strict=True)
        },
    }


def is_calibrated(described: Mapping[str, Any]) -> bool:
    """Say whether decisions that were described changed any label's probabilities."""
    return any(one["calibration"] != "none" for one in described["per_label"].values())


def _f1(scores: Scores, thresholds: Sequence[float]) -> dict[str, dict[str, float]]:
    at_half = f1(scores.labels, scores.probabilities >= HALF)
    tuned = f1(scores.labels, scores.probabilities >= np.array(thresholds))
    return {average: {"half": at_half[average], "tuned": tuned[average]} for average in tuned}
