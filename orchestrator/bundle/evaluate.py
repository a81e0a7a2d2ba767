"""Measure a bundle on new labelled data, and the data against the bundle's own."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.bundle.drift import label_drift, text_drift
from orchestrator.bundle.predict import Prediction, Predictor, embed_texts, predict_embedded
from orchestrator.data.dataset import Dataset
from orchestrator.data.duplicates import first_rows, group_texts, hash_texts
from shared.errors import InputError
from shared.metrics import average_precision

LEVEL = 0.01
"""The p-value below which a difference is called drift."""
SEED = 0
"""What samples and permutations are drawn by: equal data gives equal figures."""

Counts = npt.NDArray[np.int64]


def measure(predictor: Predictor, dataset: Dataset) -> dict[str, Any]:
    """Predict on labelled texts; return average precision, decisions and drift, for JSON.

    `unseen` has the figures without the texts that were trained on, None where there are no such
    texts, or no others with a label. Drift is that of distinct texts, of those that were not
    trained on if there are any. Raises InputError when no row has a label.
    """
    if not dataset.labels.any():
        raise InputError(f"{dataset.source}: no row has a label, so there is nothing to measure.")
    manifest, reference = predictor.bundle.manifest, predictor.bundle.reference
    vectors = embed_texts(predictor, dataset.texts)
    prediction = predict_embedded(predictor.bundle, vectors)
    is_known = np.isin(hash_texts(dataset.texts), reference.text_hashes)
    new = np.flatnonzero(~is_known)
    is_told = is_known.any() and dataset.labels[new].any()
    groups = group_texts(dataset.texts, [vectors])
    distinct = first_rows(groups, new if len(new) else np.arange(len(groups)))
    by_label = label_drift(reference, dataset.labels[distinct], dataset.label_names)
    return {
        "n_rows": len(dataset.texts),
        "n_trained_on": int(is_known.sum()),
        **quality(dataset, prediction, manifest.thresholds),
        "unseen": quality(*_only(new, dataset, prediction), manifest.thresholds)
        if is_told
        else None,
        "drift": {
            "texts": asdict(text_drift(reference, vectors[distinct], SEED)),
            "labels": {name: asdict(one) for name, one in by_label.items()},
        },
    }


def _only(
    rows: npt.NDArray[np.int64], dataset: Dataset, prediction: Prediction
) -> tuple[Dataset, Prediction]:
    texts = tuple(dataset.texts[row] for row in rows)
    return (
        replace(dataset, texts=texts, labels=dataset.labels[rows]),
        Prediction(prediction.probabilities[rows], prediction.decisions[rows]),
    )


def quality(
    dataset: Dataset, prediction: Prediction, thresholds: Sequence[float] | None
) -> dict[str, Any]:
    """Measure probabilities by average precision, and decisions by precision, recall and F1.

    Of classes, which have no thresholds, also by accuracy. Averages are over the labels that have
    the figure: macro plain, weighted by support; micro pools all rows and labels. A figure without
    rows to tell it is None.
    """
    names, labels = dataset.label_names, dataset.labels.astype(bool)
    counts = np.array([(labels & prediction.decisions), prediction.decisions, labels]).sum(axis=1)
    support = counts[2]
    by_label, pooled = _decided(*counts), _decided(*counts.sum(axis=1, keepdims=True))
    ranked = asdict(average_precision(dataset.labels, prediction.probabilities, names))
    ap_of = ranked.pop("per_label")
    averages = {
        f"{figure}_{average}": value
        for figure, values in by_label.items()
        for average, value in {
            "weighted": _mean(values, support),
            "macro": _mean(values, np.ones_like(support)),
            "micro": _plain(pooled[figure][0]),
        }.items()
    }
    per_label = {
        name: {"ap": ap_of[name]}
        | {figure: _plain(values[i]) for figure, values in by_label.items()}
        | {"support": int(support[i])}
        | ({} if thresholds is None else {"threshold": thresholds[i]})
        for i, name in enumerate(names)
    }
    # Each row has one class and gets one: pooled, each hit is a row that is right.
    accuracy = {"accuracy": averages["f1_micro"]} if dataset.task == "multiclass" else {}
    return {**ranked, **averages, **accuracy, "per_label": per_label}


def _decided(hits: Counts, given: Counts, support: Counts) -> dict[str, npt.NDArray[np.float64]]:
    """Return the figures of decisions from counts of rows; NaN where nothing can be said."""
    pairs = {
        "precision": (hits, given),
        "recall": (hits, support),
        "f1": (2 * hits, given + support),
    }
    return {
        figure: np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
        for figure, (part, whole) in pairs.items()
    }


def _mean(values: npt.NDArray[np.float64], weights: Counts) -> float | None:
    weights = np.where(np.isnan(values), 0, weights)
    return float(np.average(np.nan_to_num(values), weights=weights)) if weights.any() else None


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def describe(found: dict[str, Any]) -> str:
    """Lay the figures out for a terminal."""
    shown = found if found["unseen"] is None else found["unseen"]
    in_classes = "accuracy" in found
    kind, kinds = ("class", "Classes") if in_classes else ("label", "Labels")
    lines = [*_describe_rows(found), "", f"{'':<10}" + _cells("AP", "precision", "recall", "F1")]
    for average in ("weighted", "macro", "micro"):
        figures = (shown[f"{key}_{average}"] for key in ("ap", "precision", "recall", "f1"))
        lines.append(f"{average:<10}" + _cells(*map(_figure, figures)))
    width = max(len("label"), *map(len, found["per_label"])) + 2
    head = _cells("AP", "precision", "recall", "F1", "rows", "share", "trained on", "p")
    lines += ["", f"{kind:<{width}}{head}"]
    for name, one in shown["per_label"].items():
        drift = found["drift"]["labels"][name]
        figures = (_figure(one[key]) for key in ("ap", "precision", "recall", "f1"))
        shares = (f"{drift['new_share']:.1%}", f"{drift['training_share']:.1%}")
        cells = _cells(*figures, str(one["support"]), *shares, f"{drift['p_value']:.3g}")
        lines.append(f"{name:<{width}}{cells}")
    return "\n".join([*lines, "", *_verdicts(found["drift"], kinds)])


def _describe_rows(found: dict[str, Any]) -> list[str]:
    """Say what the figures are of: texts that were trained on flatter them."""
    n_rows, n_known, unseen = found["n_rows"], found["n_trained_on"], found["unseen"]
    right = f", {found['accuracy']:.1%} of them right" if "accuracy" in found else ""
    lines = [f"{n_rows} rows{right}"]
    if unseen is not None:
        right = f" ({unseen['accuracy']:.1%} right)" if "accuracy" in unseen else ""
        lines.append(
            f"{n_known} of them have texts that were trained on: what follows is of the other"
            f" {n_rows - n_known}{right}."
        )
    elif n_known:
        lines.append(
            f"{n_known} of them have texts that were trained on, and no other has a label: what"
            " follows says how well these were learnt, not how good the bundle is."
        )
    return lines


def _verdicts(drift: dict[str, Any], kinds: str) -> tuple[str, str]:
    texts = drift["texts"]
    kind = "other than" if texts["p_value"] < LEVEL else "like"
    moved = [name for name, one in drift["labels"].items() if one["p_value"] < LEVEL]
    distance = f"squared MMD {texts['mmd2']:.4f}, p = {texts['p_value']:.3g}"
    correction = f"p < {LEVEL} after Holm's correction"
    return (
        f"Texts: {kind} those trained on ({distance}).",
        f"{kinds} whose share has changed: {', '.join(moved) or 'none'} ({correction}).",
    )


def _cells(*texts: str) -> str:
    return "".join(f"{text:>11}" for text in texts)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
