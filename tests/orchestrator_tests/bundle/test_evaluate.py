import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from orchestrator.bundle.bundle import read_bundle
from orchestrator.bundle.evaluate import describe, measure, quality
from orchestrator.bundle.predict import Prediction, load_predictor, predict
from orchestrator.data.dataset import Dataset
from shared.errors import InputError
from tests.tiny_bundle import CLASSES, write_tiny_bundle

THRESHOLDS = (0.5, 0.4, 0.6)


def _dataset(labels: np.ndarray) -> Dataset:
    texts = tuple(f"text {i}" for i in range(len(labels)))
    names = ("a", "b", "c")[: labels.shape[1]]
    return Dataset(texts, labels.astype(np.float32), names, "new.csv")


def _case(n_labels: int) -> tuple[Dataset, Prediction]:
    rng = np.random.default_rng(0)
    labels = rng.random((60, n_labels)) < 0.4
    probabilities = rng.random((60, n_labels)).astype(np.float32)
    return _dataset(labels), Prediction(probabilities, probabilities >= THRESHOLDS[:n_labels])


def test_the_figures_are_scikit_learns() -> None:
    dataset, prediction = _case(3)
    found = quality(dataset, prediction, THRESHOLDS)
    labels, decisions = dataset.labels.astype(bool), prediction.decisions
    for average in ("weighted", "macro", "micro"):
        expected = precision_recall_fscore_support(labels, decisions, average=average)[:3]
        assert [found[f"{key}_{average}"] for key in ("precision", "recall", "f1")] == (
            pytest.approx(expected)
        )
        assert found[f"ap_{average}"] == pytest.approx(
            average_precision_score(labels, prediction.probabilities, average=average)
        )
    precision, recall, f1, support = precision_recall_fscore_support(labels, decisions)
    for i, name in enumerate(dataset.label_names):
        one = found["per_label"][name]
        assert (one["support"], one["threshold"]) == (support[i], THRESHOLDS[i])
        figures = [one["precision"], one["recall"], one["f1"]]
        assert figures == pytest.approx([precision[i], recall[i], f1[i]])


def test_one_label_is_enough() -> None:
    dataset, prediction = _case(1)
    found = quality(dataset, prediction, THRESHOLDS[:1])
    assert found["f1_macro"] == found["f1_micro"] == found["per_label"]["a"]["f1"]


def test_what_no_row_tells_is_none_and_left_out_of_the_averages() -> None:
    dataset, prediction = _case(2)
    dataset.labels[:, 1] = 0
    prediction.decisions[:, 1] = False
    found = quality(dataset, prediction, THRESHOLDS[:2])
    unknown = found["per_label"]["b"]
    assert [unknown[key] for key in ("ap", "precision", "recall", "f1")] == [None] * 4
    assert found["f1_macro"] == found["per_label"]["a"]["f1"]


def test_of_classes_the_share_of_rows_that_are_right_is_told_too(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle", **CLASSES)
    predictor = load_predictor(read_bundle(tmp_path / "bundle"))
    dataset = replace(_dataset(np.eye(2)[[0, 1, 1, 1]]), class_column="topic")
    found = measure(predictor, dataset)
    said = predict(predictor, dataset.texts).probabilities.argmax(axis=1)
    assert found["accuracy"] == (said == [0, 1, 1, 1]).mean()
    assert found["per_label"]["a"].keys() == {"ap", "precision", "recall", "f1", "support"}
    assert f"4 rows, {found['accuracy']:.1%} of them right" in describe(found)
    assert "Classes whose share has changed: none" in describe(found)


def test_a_measurement_has_figures_and_drift_and_reads_well(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    predictor = load_predictor(read_bundle(tmp_path / "bundle"))
    dataset, _ = _case(2)
    found = measure(predictor, dataset)
    assert json.loads(json.dumps(found)) == found
    assert found["n_rows"] == 60
    assert found["drift"]["texts"]["n_training"] == 40
    assert found["drift"]["labels"]["a"]["training_share"] == 0.4
    shown = describe(found)
    assert "Texts: other than those trained on" in shown
    assert "Labels whose share has changed: b" in shown
    with pytest.raises(InputError, match="new.csv: no row has a label"):
        measure(predictor, _dataset(np.zeros((4, 2))))


def test_texts_that_were_trained_on_are_counted_and_figures_given_without_them(
    tmp_path: Path,
) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    predictor = load_predictor(read_bundle(tmp_path / "bundle"))
    dataset, _ = _case(2)
    found = measure(predictor, dataset)
    assert (found["n_trained_on"], found["unseen"]) == (0, None)
    known = replace(dataset, texts=("trained  ON",) * 20 + dataset.texts[20:])
    found = measure(predictor, known)
    assert found["n_trained_on"] == 20
    others = measure(
        predictor, replace(dataset, texts=dataset.texts[20:], labels=dataset.labels[20:])
    )
    assert found["unseen"].items() <= others.items()
    assert found["drift"] == others["drift"]
    shown = describe(found)
    assert "20 of them have texts that were trained on: what follows is of the other 40." in shown
    assert f"{others['ap_weighted']:.4f}" in shown
    all_known = describe(measure(predictor, replace(dataset, texts=("Trained on",) * 60)))
    assert "60 of them have texts that were trained on, and no other has a label" in all_known


def test_texts_that_come_again_and_again_are_no_drift(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    predictor = load_predictor(read_bundle(tmp_path / "bundle"))
    dataset, _ = _case(2)
    once = measure(predictor, dataset)["drift"]
    again = replace(dataset, texts=dataset.texts * 3, labels=np.concatenate([dataset.labels] * 3))
    assert measure(predictor, again)["drift"] == once
