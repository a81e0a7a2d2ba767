"""Write the smallest bundle there is, around the real encoder."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from orchestrator.bundle.bundle import write_bundle
from orchestrator.bundle.reference import Reference
from orchestrator.data.duplicates import hash_texts
from orchestrator.ensemble.fused import fuse
from shared.config.sections import DecisionsConfig, EncoderConfig
from shared.encoding.encoder import resolve_encoder

WIDTH = 384
LABELS = ("a", "b")
THRESHOLDS = (0.5, 0.4)


def comparison_of(figure: str = "ap_weighted") -> dict[str, Any]:
    """Return how an ensemble might have compared with the two that a sweep has to beat."""
    worse, better = (-0.001, -0.005, 0.003), (0.02, 0.01, 0.03)
    return {
        "figure": figure,
        "n_resamples": 2000,
        "level": 0.95,
        "values": {
            name: {"value": 0.9, "low": 0.85, "high": 0.95}
            for name in ("test", "logistic_regression", "default_head")
        },
        "differences": {
            name: dict(zip(("value", "low", "high"), ends, strict=True))
            for name, ends in (("logistic_regression", worse), ("default_head", better))
        },
        "p_values": {"logistic_regression": 0.6, "default_head": 0.001},
    }


def metrics_of(first: str, second: str) -> dict[str, Any]:
    """Return what might have been measured of two labels, the second without a test text."""
    averages = ("ap_weighted", "ap_macro", "ap_micro")
    measured = dict(zip(averages, (0.9, 0.8, 0.7), strict=True))
    measured |= {"per_label": {first: 0.9, second: None}}
    return {
        "test": measured,
        "logistic_regression": measured,
        "comparison": comparison_of(),
        "regularisation": {"C": 10.0, "is_standardised": False, "description": "C = 10"},
        "ensemble": {"source": "best", "teams": [{"trial": 1, "share": 1.0}]},
        "decisions": decisions_of(first, second),
        "intervals": {average: [0.6, 0.95] for average in averages[:2]}
        | {"per_label": {first: [0.7, 0.96], second: None}},
        "data": {
            "source": "texts.csv",
            "n_rows": 50,
            "n_known": 40,
            "n_test": 10,
            "positives": {first: 20, second: 5},
            "encoders": {"all-MiniLM-L6-v2": {"max_seq_length": 256, "n_truncated": 3}},
        },
    }


def decisions_of(first: str, second: str) -> dict[str, Any]:
    """Return what might have been decided, the second label's probabilities as they were."""
    trueness = {"ece": 0.05, "brier": 0.2, "log_loss": 0.5}
    measured = {"uncalibrated": trueness, "calibrated": trueness | {"ece": 0.02}}
    f1 = {"f1_macro": {"half": 0.5, "tuned": 0.6}, "f1_micro": {"half": 0.7, "tuned": 0.8}}
    as_it_was = {"threshold": 0.4, "calibration": "none", "temperature": 1.0, "note": "5 of 50"}
    tempered = {"threshold": 0.5, "calibration": "temperature", "temperature": 2.0, "note": None}
    return {
        "asked": DecisionsConfig().model_dump(mode="json"),
        "chosen_for": "the highest F1",
        "test": measured | f1,
        "out_of_fold": measured,
        "per_label": {first: tempered, second: as_it_was},
    }


METRICS = metrics_of(*LABELS)
OF_CLASSES = {
    name: METRICS[name] | {"accuracy": 0.6, "f1_macro": 0.5}
    for name in ("test", "logistic_regression")
}
OF_CLASSES["comparison"] = comparison_of("accuracy")
OF_CLASSES["decisions"] = METRICS["decisions"] | {
    "test": {name: METRICS["decisions"]["test"][name] for name in ("uncalibrated", "calibrated")}
}
CLASSES = {"class_column": "topic", "thresholds": None, "metrics": METRICS | OF_CLASSES}
"""What a bundle of classes has in place of one of labels."""


def tiny_members(n: int) -> list[keras.Sequential]:
    """Return n members of different shapes."""
    keras.utils.set_random_seed(0)
    members = []
    for i in range(n):
        member = keras.Sequential([keras.Input((WIDTH,), dtype="float32")])
        for _ in range(i):
            member.add(keras.layers.Dense(8 + i, activation="relu"))
            member.add(keras.layers.BatchNormalization())
        member.add(keras.layers.Dense(len(LABELS), activation="sigmoid"))
        members.append(member)
    return members


def tiny_reference() -> Reference:
    vectors = np.random.default_rng(0).normal(size=(40, WIDTH)).astype(np.float32)
    return Reference(vectors, np.array([16, 4]), 40, hash_texts(["Trained on"]))


def write_tiny_bundle(folder: Path, **other: Any) -> None:
    """Write a bundle of three members, or with other values than usual."""
    labels = other.get("label_names", LABELS)
    values = {
        "model": fuse(tiny_members(3)),
        "text_column": "text",
        "label_names": labels,
        "class_column": None,
        "thresholds": THRESHOLDS,
        "encoders": [resolve_encoder(EncoderConfig())],
        "params": {"batch_size": 8},
        "metrics": metrics_of(*labels),
        "reference": tiny_reference(),
    }
    write_bundle(folder, **(values | other))
