"""Measure whether what tagsweep claims holds, and print one JSON line."""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from benchmarks.honesty.coverage import coverage
from benchmarks.honesty.drift import drift_alarms
from benchmarks.honesty.noise import noise
from benchmarks.honesty.twins import twins_inflation
from benchmarks.results import publish
from orchestrator.data.dataset import load_dataset
from orchestrator.data.duplicates import first_rows, group_texts
from orchestrator.data.embeddings import embed
from shared.config.sections import DataConfig, EncoderConfig
from shared.encoding.encoder import resolve_encoder

DATA = Path(os.environ.get("TAGSWEEP_TEST_DATA", "../shared/data")) / "emotions.csv"
REPEATED = 0.2
"""The share of new rows that repeat another."""
SEEDS = (101, 102)
BARS = {
    "coverage": (0.93, 0.97),
    "noise": (0.0, 0.1),
    "drift_alarms": (0.0, 0.07),
    "twins_inflation": (-1.0, 0.005),
}
"""The ends that each share or difference is to lie between."""


def main(
    repetitions: Annotated[int, typer.Option(help="Data sets of each setting of coverage.")] = 1000,
    runs: Annotated[int, typer.Option(help="Runs on labels without signal.")] = 20,
    comparisons: Annotated[int, typer.Option(help="Comparisons of data without drift.")] = 200,
) -> None:
    """Print and keep one JSON line; see benchmarks/README.md for its keys."""
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        covered = coverage(repetitions, pool)
    dataset = load_dataset(DataConfig(csv=DATA))
    vectors = _embed(dataset.texts)
    distinct = first_rows(group_texts(dataset.texts, [vectors]), np.arange(len(vectors)))
    vectors = vectors[distinct]
    twins = [twins_inflation(dataset, _embed, seed) for seed in SEEDS]
    excess = [one["claimed"] - one["without_twins"] for one in twins]
    found: dict[str, Any] = {
        "coverage": covered,
        "noise": {task: noise(vectors, task, runs) for task in ("multilabel", "multiclass")},
        "drift_alarms": drift_alarms(vectors, REPEATED, comparisons),
        "twins_inflation": round(float(np.mean(excess)), 4),
        "twins": twins,
    }
    missed = [
        key
        for key, (low, high) in BARS.items()
        if not all(low <= share <= high for share in _shares(found[key]))
    ]
    publish("honesty", found | {"bars": BARS, "missed": missed})


def _embed(texts: tuple[str, ...]) -> npt.NDArray[np.float32]:
    cache = Path(tempfile.gettempdir()) / "tagsweep-benchmark-embeddings"
    return np.asarray(
        embed(texts, resolve_encoder(EncoderConfig()), cache, lambda *_: None).vectors
    )


def _shares(found: Any) -> Iterator[float]:
    """Yield all numbers in a dictionary of dictionaries."""
    if not isinstance(found, dict):
        yield found
        return
    for one in found.values():
        yield from _shares(one)


if __name__ == "__main__":
    typer.run(main)
