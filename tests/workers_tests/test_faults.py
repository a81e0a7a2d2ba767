"""Real harm to a real PostgreSQL while a worker trains: the study must come out as it should."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from optuna.study import Study
from optuna.trial import TrialState
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from benchmarks.outages import outage
from orchestrator.runs.database import embedded_postgres
from shared.config.sweep import with_values
from shared.study.attributes import FAILURE, LABELS, RETRY_OF, STORE, VERSIONS, WORKER
from shared.study.budget import ask
from shared.study.liveness import owners_of_running
from shared.study.study import accept_config, load_study, open_study
from shared.study.tables.storage import open_storage
from shared.study.tables.study_storage import storage_of
from shared.versions import versions
from workers import SearchArrays, WorkerSpec, write_arrays
from workers.heartbeat import Heartbeat
from workers.worker import run_worker

PATIENCE_S = 120
BUSY = {
    "study": {"n_trials": 12, "pruner": {"n_startup_trials": 100}},
    "training": {"max_epochs": 60, "early_stopping_patience": 60},
    "workers": {"heartbeat_interval_s": 0.5, "heartbeat_grace_s": 3, "checkpoint_interval_s": 0},
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Return the URL of a PostgreSQL that tests may harm."""
    with (
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        embedded_postgres(Path(folder) / "postgres") as url,
    ):
        yield url


@pytest.fixture
def admin(server: str) -> Iterator[Engine]:
    engine = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture
def spec(server: str, make_spec) -> WorkerSpec:
    """Return the task of a study of some seconds on the server that may be harmed."""
    task = make_spec(**BUSY)
    storage = open_storage(server)
    open_study(storage, task.study_name, task.config, task.fingerprint)
    storage.remove_session()
    storage.engine.dispose()
    return replace(task, storage_url=server)


@pytest.fixture
def study(spec: WorkerSpec) -> Iterator[Study]:
    storage = open_storage(spec.storage_url)
    yield load_study(storage, spec.study_name, spec.config)
    storage.remove_session()
    storage.engine.dispose()


def _start(spec: WorkerSpec, arrays: SearchArrays, number: int = 0) -> Future[None]:
    """Let a worker begin in a thread of this process."""
    executor = ThreadPoolExecutor(max_workers=1)
    done = executor.submit(run_worker, spec, arrays, number, lambda: False)
    executor.shutdown(wait=False)
    return done


def _states(study: Study) -> Counter[TrialState]:
    return Counter(trial.state for trial in study.get_trials(deepcopy=False))


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not come so"
        time.sleep(0.05)


def _require_exact(study: Study, n_trials: int) -> None:
    states = _states(study)
    assert states[TrialState.COMPLETE] + states[TrialState.PRUNED] == n_trials
    assert states[TrialState.RUNNING] == states[TrialState.WAITING] == 0
    failed = [t for t in study.trials if t.state == TrialState.FAIL]
    assert all(str(t.user_attrs[FAILURE]).startswith(("lost", "interrupted")) for t in failed)
    numbers = [trial.number for trial in study.trials]
    assert numbers == list(range(len(numbers)))


def test_a_database_that_crashes_and_comes_back_loses_no_trial(
    server: str, spec: WorkerSpec, study: Study, arrays: SearchArrays
) -> None:
    worker = _start(spec, arrays)
    for n_finished in (2, 6):
        _wait_until(lambda least=n_finished: _states(study)[TrialState.COMPLETE] >= least)
        with outage(server):
            time.sleep(1)
        study._storage._backend.engine.dispose()
    worker.result(PATIENCE_S)
    _require_exact(study, 12)


def test_an_outage_beyond_the_grace_makes_no_living_worker_look_dead(
    server: str, spec: WorkerSpec, study: Study
) -> None:
    storage, study_id = storage_of(study), study._study_id
    trial_ids = [one.trial_id for one in ask(storage, study_id, n=3)]
    *living, dead = trial_ids
    hearts = [Heartbeat(storage, study_id, f"w{i}", spec.config.workers) for i in living]
    for heart, trial_id in zip(hearts, living, strict=True):
        heart.add(trial_id)
    with outage(server):
        time.sleep(1.5 * spec.config.workers.heartbeat_grace_s)
    _wait_until(lambda: dead not in owners_of_running(storage, study_id))
    time.sleep(spec.config.workers.heartbeat_grace_s)
    assert owners_of_running(storage, study_id).keys() == set(living)
    for heart in hearts:
        heart.close()
        assert heart.failure is None
        assert not heart.taken


def test_connections_that_are_ended_again_and_again_lose_no_trial(
    admin: Engine, spec: WorkerSpec, study: Study, arrays: SearchArrays
) -> None:
    worker, n_ended = _start(spec, arrays), 0
    while not worker.done():
        with admin.connect() as connection:
            ended = connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
            )
            n_ended += len(ended.all())
        time.sleep(0.3)
    worker.result()
    assert n_ended > 3
    _require_exact(study, 12)


def test_a_reader_that_holds_its_transaction_open_holds_nothing_up(
    admin: Engine, spec: WorkerSpec, study: Study, arrays: SearchArrays
) -> None:
    with admin.connect().execution_options(isolation_level="REPEATABLE READ") as reader:
        before = reader.execute(text("SELECT count(*) FROM trials")).scalar_one()
        reader.execute(text("SELECT * FROM trials, trial_values, studies")).all()
        _start(spec, arrays).result(PATIENCE_S)
        assert reader.execute(text("SELECT count(*) FROM trials")).scalar_one() == before
    _require_exact(study, 12)


def test_a_worker_waits_for_a_server_whose_connections_are_all_taken(
    server: str, admin: Engine, spec: WorkerSpec, study: Study, arrays: SearchArrays
) -> None:
    with admin.connect() as connection:
        connection.execute(text("ALTER SYSTEM SET max_connections = 10"))
    study._storage._backend.engine.dispose()
    with outage(server):
        taken = []  # as it comes back, it has read the setting
    with pytest.raises(psycopg2.OperationalError, match="too many clients"):
        while True:
            taken.append(psycopg2.connect(host=str(admin.url.query["host"]), user="postgres"))
    worker = _start(spec, arrays)
    time.sleep(2)
    assert not worker.done()
    for connection in taken:
        connection.close()
    worker.result(PATIENCE_S)
    _require_exact(study, 12)
    with admin.connect() as connection:
        connection.execute(text("ALTER SYSTEM RESET max_connections"))


def test_a_worker_that_was_frozen_too_long_lets_its_trial_be_and_goes_on(
    spec: WorkerSpec, study: Study, arrays: SearchArrays
) -> None:
    config = with_values(spec.config, {"study": {"n_trials": 30}})
    spec = replace(spec, config=config)
    accept_config(study, storage_of(study), config)
    write_arrays(spec.store, spec.fingerprint, arrays)
    study.set_user_attr(STORE, spec.store.url)
    study.set_user_attr(LABELS, list(spec.label_names))
    study.set_user_attr(VERSIONS, dict(versions()))
    command = [Path(sys.executable).with_name("tagsweep"), "worker", "--study-name"]
    frozen = subprocess.Popen(
        [*command, spec.study_name],
        env=os.environ | {"TAGSWEEP_STORAGE": spec.storage_url},
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_until(lambda: _states(study)[TrialState.COMPLETE] >= 1)
    frozen.send_signal(signal.SIGSTOP)
    other = _start(spec, arrays)
    _wait_until(lambda: _states(study)[TrialState.FAIL] >= 1)
    n_of_frozen = _n_finished_by_attached(study)
    frozen.send_signal(signal.SIGCONT)
    other.result(PATIENCE_S)
    _, errors = frozen.communicate(timeout=PATIENCE_S)
    assert frozen.returncode == 0, errors
    _require_exact(study, 30)
    assert _n_finished_by_attached(study) > n_of_frozen, "it goes on with new work"
    taken = [t for t in study.trials if t.state == TrialState.FAIL]
    again = {t.user_attrs.get(RETRY_OF) for t in study.trials}
    assert all(t.user_attrs[FAILURE].startswith("lost: no sign of life") for t in taken)
    assert {t.number for t in taken} <= again


def _n_finished_by_attached(study: Study) -> int:
    finished = (t for t in study.trials if t.state == TrialState.COMPLETE)
    return sum(t.user_attrs[WORKER] != "worker-0" for t in finished)
