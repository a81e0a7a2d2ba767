"""Measure `tagsweep serve` under concurrent clients, each with one text at a time."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from benchmarks.results import publish

DATA = Path(os.environ.get("TAGSWEEP_TEST_DATA", "../shared/data")) / "emotions.csv"
N_COMPARED = 320
"""Texts that are predicted on without a server too."""


def main(
    bundle: Annotated[Path, typer.Argument(help="A bundle.")],
    clients: Annotated[int, typer.Option(help="Connections at a time.")] = 32,
    seconds: Annotated[float, typer.Option(help="How long.")] = 60.0,
    data: Annotated[Path, typer.Option(help="A CSV with a column `text`.")] = DATA,
) -> None:
    """Serve the bundle, send texts over kept connections, and compare with `tagsweep predict`."""
    texts = pd.read_csv(data)["text"].tolist()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "serve", str(bundle), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        host, port = process.stdout.readline().rpartition("//")[2].strip().split(":")
        found = asyncio.run(_load(host, int(port), texts, clients, seconds))
        sizes = _batch_sizes(f"http://{host}:{port}/metrics")
    finally:
        process.send_signal(signal.SIGTERM)
        exit_code = process.wait()
    answers, statuses, latencies = found
    publish(
        "serving",
        {
            "clients": clients,
            "seconds": seconds,
            "texts_per_s": round(len(latencies) / seconds, 1),
            "p50_ms": _milliseconds(latencies, 50),
            "p99_ms": _milliseconds(latencies, 99),
            "max_ms": _milliseconds(latencies, 100),
            "texts_per_batch": sizes,
            "answers": dict(statuses),
            "errors": sum(n for status, n in statuses.items() if status != 200),
            **_compare(bundle, answers),
            "mean_characters": round(float(np.mean([len(text) for text in texts]))),
            "exit_code": exit_code,
        },
    )


async def _load(
    host: str, port: int, texts: list[str], n_clients: int, seconds: float
) -> tuple[dict[str, dict[str, Any]], Counter[int], list[float]]:
    """Return what was answered to each text, how often each status came, and seconds a request."""
    answers: dict[str, dict[str, Any]] = {}
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    supply, end = cycle(texts), time.perf_counter() + seconds

    async def be_a_client() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        while time.perf_counter() < end:
            text = next(supply)
            started = time.perf_counter()
            status, body = await _post(reader, writer, json.dumps({"texts": [text]}).encode())
            latencies.append(time.perf_counter() - started)
            statuses[status] += 1
            if status == 200:
                answers[text] = json.loads(body)["predictions"][0]
        writer.close()

    await asyncio.gather(*(be_a_client() for _ in range(n_clients)))
    return answers, statuses, latencies


async def _post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> tuple[int, bytes]:
    head = (
        "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    n_bytes = int(answer.partition("content-length:")[2].split()[0])
    return int(answer.split()[1]), await reader.readexactly(n_bytes)


def _batch_sizes(url: str) -> float:
    with urllib.request.urlopen(url) as answer:  # noqa: S310  our own, on loopback
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines())
    n_texts, n_batches = (float(lines[f"tagsweep_batch_texts_{key}"]) for key in ("sum", "count"))
    return round(n_texts / n_batches, 1)


def _compare(bundle: Path, answers: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Predict as the command does, 32 texts at a time: the pace, and the largest difference."""
    from orchestrator.bundle.bundle import read_bundle
    from orchestrator.bundle.predict import load_predictor, predict

    texts = list(answers)[:N_COMPARED]
    loaded = read_bundle(bundle)
    predictor, names = load_predictor(loaded), loaded.manifest.label_names
    predict(predictor, texts[:32])
    started = time.perf_counter()
    parts = [predict(predictor, texts[i : i + 32]) for i in range(0, len(texts), 32)]
    seconds = time.perf_counter() - started
    served = [[answers[text][name]["probability"] for name in names] for text in texts]
    alone = np.concatenate([part.probabilities for part in parts])
    return {
        "texts_per_s_without_server": round(len(texts) / seconds, 1),
        "max_difference": float(np.abs(np.array(served) - alone).max()),
    }


def _milliseconds(latencies: list[float], percent: float) -> float:
    return round(1000 * float(np.percentile(latencies, percent)), 1)


if __name__ == "__main__":
    typer.run(main)
