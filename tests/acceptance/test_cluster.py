import json
import os
import secrets
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pandas as pd
import psutil
import psycopg2
import pytest
from optuna.trial import TrialState

from shared.study.tables.storage import open_storage
from tests.acceptance.cluster import BIN, RayCluster, postgres_with_tls
from tests.acceptance.commands import TAGSWEEP, Tagsweep

LISTING = """
import sys
from ray.util import state
for kind in ("actors", "jobs", "tasks", "workers", "runtime_envs"):
    print(getattr(state, f"list_{kind}")(address=sys.argv[1], detail=True, limit=1000))
"""
"""What `ray list` shows of a cluster, all of it from one process. Without the address it would be
that of any Ray on this machine, another test's too."""
N_ROWS, N_TRIALS = 1200, 20
PATIENCE_S = 400
STUDY = "cluster-sweep"
PASSWORD = secrets.token_hex(16)
TOKEN = secrets.token_hex(16)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cluster-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """Return the URL of a PostgreSQL of its own, by TLS and with a password."""
    with postgres_with_tls(folder, PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def environment(folder: Path, url: str, bucket: str) -> dict[str, str]:
    """Return the environment of the cluster's machines: secrets are in files."""
    assert bucket
    (folder / "storage").write_text(f"{url}\n")
    (folder / "token").write_text(TOKEN)
    return os.environ | {
        "HOME": str(folder),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "TAGSWEEP_STORAGE_FILE": str(folder / "storage"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
    }


@pytest.fixture(scope="module")
def cluster(environment: dict[str, str]) -> Iterator[RayCluster]:
    running = RayCluster(environment)
    try:
        running.start_head()
        yield running
    finally:
        running.stop()


class Watch:
    """Collect the command lines of all processes, as `ps` shows them to every user."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(0.5):
            for process in psutil.process_iter(["cmdline"]):
                self.seen.add(" ".join(process.info["cmdline"] or ()))


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    watching = Watch()
    yield watching
    watching.close()


@pytest.fixture(scope="module")
def launched(
    folder: Path,
    bucket: str,
    cluster: RayCluster,
    environment: dict[str, str],
    emotions_csv: Path,
    watch: Watch,
) -> str:
    """Launch a sweep, take a node away and add one, and return what the user has seen."""
    assert watch
    pd.read_csv(emotions_csv, nrows=N_ROWS).to_csv(folder / "texts.csv", index=False)
    (folder / "sweep.yaml").write_text(
        f"data: {{csv: {folder / 'texts.csv'}}}\n"
        f"ensemble: {{n_folds: 2}}\ntraining: {{max_epochs: 20}}\n"
        f"workers: {{max: 3, store: '{bucket}/sweeps', heartbeat_interval_s: 1,"
        " heartbeat_grace_s: 5}\n"
    )
    doomed, _ = cluster.add_node(), cluster.add_node()
    client = {name: value for name, value in environment.items() if "STORAGE" not in name}
    run = folder / STUDY
    command = ["launch", folder / "sweep.yaml", "--n-trials", N_TRIALS, "--run-dir", run]
    sweep = subprocess.Popen(
        [TAGSWEEP, *map(str, command), "--ray-address", cluster.dashboard],
        env=client,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    while not _has_begun(run, client):
        assert time.monotonic() < deadline
        assert sweep.poll() is None, sweep.communicate()[0]
        time.sleep(1)
    doomed.terminate()
    doomed.wait(60)
    cluster.add_node()
    output, _ = sweep.communicate(timeout=PATIENCE_S)
    assert sweep.returncode == 0, output
    return output


def _has_begun(run: Path, environment: dict[str, str]) -> bool:
    """Say whether a tenth of the trials has finished, as `tagsweep status` tells from outside."""
    command = [TAGSWEEP, "status", str(run), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return False
    status = json.loads(done.stdout)
    return status["stage"] == "Search" and status["done"] >= N_TRIALS // 10


def test_a_launched_sweep_spends_its_budget_though_a_node_is_lost(launched: str, url: str) -> None:
    assert f"Search: {N_TRIALS}/{N_TRIALS}" in launched
    storage = open_storage(url)
    trials = optuna.load_study(study_name=STUDY, storage=storage).trials
    finished = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(finished) == N_TRIALS
    assert all(t.state == TrialState.FAIL for t in trials if t not in finished)
    storage.remove_session()
    storage.engine.dispose()


def test_the_nodes_encode_the_texts(launched: str, folder: Path) -> None:
    assert f"Embedding: {N_ROWS}/{N_ROWS}" in launched
    log = (folder / "tagsweep" / STUDY / "tagsweep.log").read_text()
    assert "Encoding in 2 processes" in log


def test_the_bundle_predicts_from_the_object_store(
    launched: str, bucket: str, tagsweep: Tagsweep
) -> None:
    assert launched
    bundle = f"{bucket}/sweeps/{STUDY}/bundle"
    assert "joy" in tagsweep("predict", bundle, "--text", "What a wonderful day!").stdout
    missing = tagsweep("predict", f"{bucket}/nothing", "--text", "x", code=2)
    assert missing.stderr == f"Error: {bucket}/nothing is not a bundle: it has no manifest.json.\n"


def test_a_launched_run_is_found_again(
    launched: str, folder: Path, environment: dict[str, str]
) -> None:
    logs = subprocess.run(
        [TAGSWEEP, "logs", str(folder / STUDY)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Ensemble: 2/2" in logs.stderr
    assert "Weighted average precision on the test split" in logs.stderr + launched


def test_the_password_is_seen_nowhere(
    launched: str,
    folder: Path,
    url: str,
    environment: dict[str, str],
    cluster: RayCluster,
    watch: Watch,
) -> None:
    storage = open_storage(url)
    study = optuna.load_study(study_name=STUDY, storage=storage)
    attributes = json.dumps([study.user_attrs, *(trial.user_attrs for trial in study.trials)])
    storage.remove_session()
    storage.engine.dispose()
    listings = subprocess.run(
        [BIN / "python", "-c", LISTING, cluster.dashboard],
        env=environment, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    assert "Worker.run" in listings
    assert f"--study-name {STUDY}" in listings
    ray_logs = [path for path in (cluster.session / "logs").rglob("*") if path.is_file()]
    assert any("raylet" in path.name for path in ray_logs)
    seen = [launched, attributes, listings, *watch.seen]
    seen += [path.read_text(errors="replace") for path in ray_logs]
    seen += [path.read_text() for path in (folder / STUDY).rglob("*") if path.is_file()]
    assert any("ray::Worker" in line for line in watch.seen)
    for secret in (PASSWORD, TOKEN):
        assert not [text[:200] for text in seen if secret in text]


def test_errors_of_the_database_do_not_show_the_password(url: str, tagsweep: Tagsweep) -> None:
    for wrong in (url.replace("sweeper:", "nobody:"), url.replace("/sweeps?", "/nothing?")):
        refused = tagsweep("studies", "--storage", wrong, code=1)
        assert PASSWORD not in refused.stderr
        assert "cannot be used" in refused.stderr


def test_a_server_that_cannot_prove_who_it_is_is_refused(
    url: str, folder: Path, tagsweep: Tagsweep
) -> None:
    import trustme

    trustme.CA().cert_pem.write_to_path(folder / "other.crt")
    refused = tagsweep("studies", "--storage", url.replace("ca.crt", "other.crt"), code=1)
    assert "certificate verify failed" in refused.stderr


def test_a_connection_without_tls_is_refused_by_the_server(url: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="no encryption"):
        psycopg2.connect(url.split("?", maxsplit=1)[0] + "?sslmode=disable")
