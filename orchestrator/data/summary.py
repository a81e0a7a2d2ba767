"""Say what a run takes: rows, labels, columns left out, encoders and split, on one screen."""

from collections.abc import Iterable, Sequence

from orchestrator.data.columns import describe_left_out
from orchestrator.data.dataset import Dataset
from orchestrator.data.splits import Split
from shared.training.inputs import Fold

MAX_LABELS = 40
"""How many labels are named with their rows."""


def describe_data(dataset: Dataset, encoders: Iterable[str]) -> list[str]:
    """Say in lines what was read, and what embeds it."""
    n_rows, n_texts = len(dataset.texts), len(set(dataset.texts))
    n_different = "all texts different" if n_texts == n_rows else f"{n_texts:,} different texts"
    form = f" ({dataset.form})" if dataset.form else ""
    lines = [
        f"Data      {dataset.source}{form}: {n_rows:,} rows, {n_different}",
        _describe_labels(dataset),
        *([f"Values    {dataset.label_form}"] if dataset.label_form else []),
        f"Encoder   {', '.join(encoders)}",
    ]
    if dataset.left_out:
        lines.insert(-1, f"Left out  {describe_left_out(dataset.left_out)}")
    return lines


def describe_split(split: Split, folds: Sequence[Fold]) -> str:
    """Say in a line how the rows are divided."""
    measured = "" if len(folds) == 1 else f"; each trial on {len(folds)} folds of the former two"
    return (
        f"Split     {len(split.train):,} rows to train, {len(split.valid):,} to validate,"
        f" {len(split.test):,} to test{measured}"
    )


def _describe_labels(dataset: Dataset) -> str:
    counts = dataset.labels.sum(axis=0).astype(int)
    named = [f"{name} {n:,}" for name, n in zip(dataset.label_names, counts, strict=True)]
    title = "Labels" if dataset.task == "multilabel" else "Classes"
    more = f", {len(named) - MAX_LABELS} more" if len(named) > MAX_LABELS else ""
    return f"{title:<9} {len(named)}, with rows: {', '.join(named[:MAX_LABELS])}{more}"
