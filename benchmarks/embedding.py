"""Compare the backends of an encoder with what sentence-transformers does by default."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from benchmarks.results import publish
from orchestrator.data.dataset import Dataset, load_dataset
from shared.config.sections import QUANTISED, DataConfig, EncoderConfig
from shared.encoding.backends import LOSSLESS_COSINE, available, least_cosine
from shared.encoding.encode import count_tokens, encode
from shared.encoding.encoder import resolve_encoder
from shared.encoding.load import load_encoder
from shared.encoding.openvino_backend import has_openvino

DATA = Path(os.environ.get("TAGSWEEP_TEST_DATA", "../shared/data")) / "emotions.csv"
DEFAULT = "sentence-transformers"
Vectors = npt.NDArray[np.float32]
Encode = Callable[[list[str]], Vectors]


def main(
    data: Annotated[Path, typer.Option(help="A CSV of labelled texts.")] = DATA,
    n_texts: Annotated[int, typer.Option(help="Texts of each length.")] = 500,
    max_tokens: Annotated[int, typer.Option(help="Tokens of a long text.")] = 256,
    rounds: Annotated[int, typer.Option(help="Turns that each backend takes.")] = 3,
) -> None:
    """Embed long texts and short ones, every backend in turn, several times."""
    dataset = load_dataset(DataConfig(csv=data))
    contenders = _contenders(max_tokens)
    found: dict[str, Any] = {"n_texts": n_texts, "max_tokens": max_tokens, "rounds": rounds}
    long_texts = _joined(dataset.texts, n_texts, max_tokens)
    long_table, _ = _race(contenders, long_texts, rounds)
    short_table, vectors = _race(contenders, list(dataset.texts[:n_texts]), rounds)
    for name, agreed in _agreement(dataset, n_texts, vectors).items():
        short_table[name]["decisions_as_default"] = agreed
    lossless = [
        name
        for name in long_table.keys() - {DEFAULT, *QUANTISED}
        if long_table[name]["cosine_min"] >= LOSSLESS_COSINE
    ]
    best = max(lossless, key=lambda name: long_table[name]["ratio"])
    quantised = [long_table[name]["ratio"] for name in QUANTISED if name in long_table]
    publish(
        "embedding",
        found
        | {
            "default_texts_per_s": long_table[DEFAULT]["texts_per_s"],
            "best_lossless": best,
            "best_lossless_ratio": long_table[best]["ratio"],
            "best_quantised_ratio": max(quantised, default=None),
            "cosine_min": long_table[best]["cosine_min"],
            "long": long_table,
            "short": short_table,
            "load_average": round(os.getloadavg()[0], 1),
        },
    )


def _contenders(max_tokens: int) -> dict[str, Encode]:
    """Return all that can embed texts here, sentence-transformers' own way first."""
    encoder = resolve_encoder(EncoderConfig(backend="torch", max_seq_length=max_tokens))
    model = load_encoder(encoder)
    names = ["torch", *available(model), *(QUANTISED if has_openvino() else ())]
    contenders: dict[str, Encode] = {DEFAULT: model.encode}
    for name in names:
        other = replace(encoder, backend=name)
        contenders[name] = partial(encode, load_encoder(other), other)
    return contenders


def _joined(texts: Sequence[str], n_texts: int, n_tokens: int) -> list[str]:
    """Return texts of at least so many tokens, each made of texts drawn at random."""
    encoder = resolve_encoder(EncoderConfig(backend="torch"))
    lengths = count_tokens(load_encoder(encoder), encoder, texts) - 2  # less the special ones
    rng = np.random.default_rng(0)
    joined = []
    for _ in range(n_texts):
        drawn = rng.permutation(len(texts))
        n_needed = int(np.searchsorted(np.cumsum(lengths[drawn]), n_tokens)) + 1
        joined.append(" ".join(texts[i] for i in drawn[:n_needed]))
    return joined


def _race(
    contenders: dict[str, Encode], texts: list[str], rounds: int
) -> tuple[dict[str, dict[str, Any]], dict[str, Vectors]]:
    """Return a row of figures a contender, medians of its rounds, and its vectors."""
    vectors: dict[str, Vectors] = {}
    taken_s: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run(texts[:32])
    for _ in range(rounds):
        for name, run in contenders.items():
            started_s = time.perf_counter()
            vectors[name] = run(texts)
            taken_s[name].append(time.perf_counter() - started_s)
    default_s = median(taken_s[DEFAULT])
    table = {
        name: {
            "texts_per_s": round(len(texts) / median(seconds), 1),
            "ratio": round(default_s / median(seconds), 2),
            "cosine_min": round(least_cosine(vectors[name], vectors[DEFAULT]), 5),
        }
        for name, seconds in taken_s.items()
    }
    return table, vectors


def _agreement(dataset: Dataset, n_texts: int, vectors: dict[str, Vectors]) -> dict[str, float]:
    """Return the share of decisions that are those on the default's vectors.

    A logistic regression learns from the first half of these, and decides on the second.
    """
    half = n_texts // 2
    labels = dataset.labels[:n_texts].astype(int)
    model = OneVsRestClassifier(LogisticRegression(max_iter=1000, class_weight="balanced"))
    model.fit(vectors[DEFAULT][:half], labels[:half])
    expected = model.predict(vectors[DEFAULT][half:])
    return {
        name: round(float((model.predict(own[half:]) == expected).mean()), 4)
        for name, own in vectors.items()
    }


if __name__ == "__main__":
    typer.run(main)
