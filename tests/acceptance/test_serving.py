import json
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.acceptance.commands import TAGSWEEP, FinishedRun, Tagsweep

N_TEXTS = 60
N_CLIENTS = 8


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    url: str

    def predict(self, *texts: str) -> list[dict[str, Any]]:
        request = urllib.request.Request(  # noqa: S310  loopback
            f"{self.url}/predict",
            json.dumps({"texts": texts}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            predictions: list[dict[str, Any]] = json.load(answer)["predictions"]
        return predictions


README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def _from_the_readme(pattern: str) -> str:
    (found,) = re.findall(pattern, README, flags=re.MULTILINE)
    return str(found)


@contextmanager
def _served(bundle: Path) -> Iterator[Server]:
    """Serve a bundle as the README does, stop the server in the end, and require good order."""
    command = _from_the_readme(r"^tagsweep (serve .*)$")
    arguments = command.replace("runs/demo/bundle", str(bundle)).replace("8000", "0").split()
    process = subprocess.Popen(
        [TAGSWEEP, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    said = process.stdout.readline()
    try:
        yield Server(process, said.rpartition(" ")[2].strip())
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert said.startswith("The classifier is at http://127.0.0.1:"), errors
    assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def server(finished: FinishedRun) -> Iterator[Server]:
    with _served(finished.folder / "bundle") as server:
        yield server


def test_it_predicts_for_many_at_a_time_what_predict_does(
    tagsweep: Tagsweep, finished: FinishedRun, server: Server, checkout: Path, tmp_path: Path
) -> None:
    texts = pd.read_csv(checkout / "examples" / "reviews.csv", nrows=N_TEXTS)[["text"]]
    texts.to_csv(tmp_path / "in.csv", index=False)
    bundle, output = finished.folder / "bundle", tmp_path / "out.csv"
    tagsweep("predict", bundle, "--input", tmp_path / "in.csv", "--output", output)
    expected = pd.read_csv(output)
    with ThreadPoolExecutor(N_CLIENTS) as clients:
        answers = list(clients.map(server.predict, texts["text"]))
    for (row,), (_, wanted) in zip(answers, expected.iterrows(), strict=True):
        for label, one in row.items():
            assert one["probability"] == pytest.approx(wanted[f"{label}_probability"], abs=1e-5)
            assert one["decision"] == bool(wanted[label])


def test_the_readmes_request_is_answered(server: Server) -> None:
    body = _from_the_readme(r"^curl --json '(.*)' http://127.0.0.1:8000/predict$")
    (prediction,) = server.predict(*json.loads(body)["texts"])
    assert prediction.keys() == {"praise", "delivery", "defect", "price", "support"}


def test_schemathesis_finds_nothing_wrong(server: Server, tmp_path: Path) -> None:
    schemathesis = TAGSWEEP.with_name("schemathesis")
    done = subprocess.run(
        [schemathesis, "run", f"{server.url}/openapi.json", "--max-examples", "40", "--seed", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_requests_under_way_are_answered_before_it_stops(finished: FinishedRun) -> None:
    texts = [f"text {i} " * 100 for i in range(100)]
    with _served(finished.folder / "bundle") as server, ThreadPoolExecutor(1) as client:
        answer = client.submit(server.predict, *texts)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert len(answer.result()) == 100


def test_an_address_that_others_reach_is_refused(tagsweep: Tagsweep, finished: FinishedRun) -> None:
    bundle = finished.folder / "bundle"
    told = tagsweep("serve", bundle, "--host", "192.0.2.1", code=2).stderr
    assert "predicts for anybody, but 192.0.2.1 may be reached by others" in told


def test_a_port_that_is_taken_is_one_clear_line(
    tagsweep: Tagsweep, finished: FinishedRun, server: Server
) -> None:
    port = server.url.rpartition(":")[2]
    told = tagsweep("serve", finished.folder / "bundle", "--port", port, code=2).stderr
    assert "Address already in use" in told
    assert told.count("\n") == 1
