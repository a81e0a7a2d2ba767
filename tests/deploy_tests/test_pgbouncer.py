import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from benchmarks.coordination.pgbouncer import pgbouncer
from orchestrator.runs.locks import Lock, locked
from shared.config.sweep import SweepConfig, with_values
from shared.errors import InputError
from shared.store import Store
from shared.study.attributes import RETRY_OF, Owner
from shared.study.budget import ask
from shared.study.study import load_study, open_study
from shared.study.tables.storage import opened_storage
from shared.study.tables.study_storage import StudyStorage
from workers import SearchArrays, WorkerSpec
from workers.worker import run_worker

N_RACERS = 12
N_CONNECTIONS = 3
RACERS = Path(__file__).parents[1] / "shared_tests" / "study" / "racers.py"


@pytest.fixture
def pgbouncer_url(postgres_url: str) -> Iterator[str]:
    with (
        tempfile.TemporaryDirectory(prefix="pgbouncer-") as folder,
        pgbouncer(postgres_url, Path(folder), N_CONNECTIONS) as url,
    ):
        yield url


def test_a_worker_trains_and_takes_over_through_pgbouncer(
    pgbouncer_url: str,
    storage: StudyStorage,
    study_name: str,
    arrays: SearchArrays,
    tmp_path: Path,
) -> None:
    config = with_values(SweepConfig(), {"study": {"n_trials": 4}, "training": {"max_epochs": 5}})
    study = open_study(storage, study_name, config, "f")
    owner = Owner("worker-0", "d")
    ask(storage, study._study_id, attrs=owner.attrs)
    names, store = ("a", "b", "c"), Store(str(tmp_path))
    spec = WorkerSpec(pgbouncer_url, study_name, "f", names, config, store, "uuid", driver_id="d")
    run_worker(spec, arrays, "worker-0", lambda: False)
    lost, *done = study.trials
    assert lost.state == TrialState.FAIL
    assert [trial.state for trial in done] == [TrialState.COMPLETE] * 4
    assert [trial.user_attrs.get(RETRY_OF) for trial in done] == [0, None, None, None]


def test_more_processes_than_connections_race_without_a_deadlock(
    pgbouncer_url: str, storage: StudyStorage, study_name: str
) -> None:
    names = [f"{study_name[-8:]}-{round_}" for round_ in range(20)]
    for round_, name in enumerate(names):
        budget = with_values(SweepConfig(), {"study": {"n_trials": 1 + round_ % 3}})
        open_study(storage, name, budget, "f")
    command = [sys.executable, RACERS, pgbouncer_url, str(N_RACERS), ",".join(names)]
    subprocess.run(command, check=True, timeout=120)
    for round_, name in enumerate(names):
        states = [trial.state for trial in load_study(storage, name, SweepConfig()).trials]
        assert states.count(TrialState.COMPLETE) == 1 + round_ % 3


def test_a_driver_is_refused_where_a_pooler_hands_its_session_on(
    pgbouncer_url: str, storage: StudyStorage, study_name: str
) -> None:
    """Its lock would be that of whoever gets the session next."""
    open_study(storage, study_name, SweepConfig(), "f")
    with (
        opened_storage(pgbouncer_url) as pooled,
        pytest.raises(InputError, match="must keep one session for a connection"),
        locked(pooled, study_name, Lock.SEARCH),
    ):
        pass
    with locked(storage, study_name, Lock.SEARCH):
        pass
