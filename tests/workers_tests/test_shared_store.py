"""Several studies, and a study's several workers, in one store: what lies there is of one only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from shared.config.sweep import SweepConfig, with_values
from shared.errors import TagsweepError
from shared.store import Store
from shared.study.attributes import RESUMED_AT, RETRY_OF, UUID, Failure, FailureKind, Owner
from shared.study.budget import ask
from shared.study.liveness import owners_of_running, retry
from shared.study.space import first_params
from shared.study.study import load_study, open_study
from shared.study.tables.storage import opened_storage
from shared.study.tables.study_storage import StudyStorage
from shared.training.matrix import Matrix
from shared.training.trainer import Trainer
from workers import SearchArrays, WorkerSpec, attach_worker, read_arrays, write_arrays
from workers.slots import open_bench, run_trials

CONFIG = {
    "space": {"n_layers": {"low": 1, "high": 1}, "max_units": 64},
    "training": {"max_epochs": 12, "early_stopping_patience": 12},
    "study": {"n_trials": 1},
    "workers": {
        "checkpoint_interval_s": 0,
        "heartbeat_interval_s": 1000,
        "heartbeat_grace_s": 10_000,
    },
}
Databases = Callable[[str], str]

LOST = Failure(FailureKind.LOST, "lost: a test")


@pytest.fixture
def make_database(postgres_url: str, study_name: str) -> Databases:
    """Return a function that makes a database, whose trials are numbered from 1."""

    def make(name: str) -> str:
        name = f"{study_name[-8:]}-{name}"
        server = create_engine(postgres_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
        return make_url(postgres_url).set(database=name).render_as_string(hide_password=False)

    return make


@contextmanager
def _study(url: str, store: Path, seed: int) -> Iterator[tuple[StudyStorage, WorkerSpec]]:
    """Open a study that begins with the same enqueued head as every other one."""
    config = with_values(with_values(SweepConfig(), CONFIG), {"study": {"seed": seed}})
    with opened_storage(url) as storage:
        study = open_study(storage, "study", config, "fingerprint")
        if not study.trials:
            study.enqueue_trial(first_params(config.space, {"encoder": 8}))
        names, uuid = ("a", "b", "c"), study.user_attrs[UUID]
        opened = Store(str(store))
        yield storage, WorkerSpec(url, "study", "fingerprint", names, config, opened, uuid)


def _run(
    storage: StudyStorage,
    spec: WorkerSpec,
    arrays: SearchArrays,
    should_stop: Callable[[int], bool] = lambda _: False,
) -> list[FrozenTrial]:
    """Be a worker until `should_stop`, which is told how often it was asked, says so."""
    study = load_study(storage, spec.study_name, spec.config)
    matrix = Matrix(arrays.vectors, arrays.labels, widths=arrays.widths_by_name(spec.config))
    trainer = Trainer(matrix, spec.config.training, 1, 128, 3)
    looks = iter(range(10**9))
    bench = open_bench(study, storage, spec, arrays, trainer, Owner("worker-0"))
    run_trials(bench, lambda: should_stop(next(looks)))
    return study.trials


def _lose(storage: StudyStorage, spec: WorkerSpec) -> None:
    """Have a trial lost before its first checkpoint."""
    study = load_study(storage, spec.study_name, spec.config)
    (begun,) = ask(storage, study._study_id)
    retry(storage, study._study_id, [begun.trial_id], LOST)


def test_a_study_keeps_what_tells_it_from_all_others(
    make_database: Databases, tmp_path: Path
) -> None:
    urls = [make_database("one"), make_database("two")]
    uuids = []
    for url in urls * 2:
        with _study(url, tmp_path, seed=1) as (_, spec):
            uuids.append(spec.study_uuid)
    assert uuids[:2] == uuids[2:]
    assert len(set(uuids)) == 2


def test_a_study_does_not_go_on_from_the_checkpoint_of_another_studys_trial(
    make_database: Databases, arrays: SearchArrays, tmp_path: Path
) -> None:
    with _study(make_database("one"), tmp_path / "shared", seed=1) as (storage, spec):
        _run(storage, spec, arrays, lambda n: n > 5)
    assert len(list((tmp_path / "shared" / "checkpoints").rglob("trial-1.npz"))) == 1
    curves = []
    for name, store in (("two", "shared"), ("three", "own")):
        with _study(make_database(name), tmp_path / store, seed=2) as (storage, spec):
            _lose(storage, spec)
            *_, trial = _run(storage, spec, arrays)
        assert (trial.state, trial.user_attrs[RESUMED_AT]) == (TrialState.COMPLETE, 0)
        curves.append(list(trial.intermediate_values.values()))
    np.testing.assert_array_equal(*curves)


def test_a_database_from_before_a_checkpoint_does_not_use_it_for_what_it_is_not(
    make_database: Databases,
    arrays: SearchArrays,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As one that was brought back from a backup: its study is the same, its ids come again."""
    with _study(make_database("newer"), tmp_path, seed=1) as (storage, spec):
        _run(storage, spec, arrays, lambda n: n > 5)
        uuid = spec.study_uuid
    with _study(make_database("older"), tmp_path, seed=1) as (storage, spec):
        study = load_study(storage, "study", spec.config)
        storage.set_trial_state_values(study.trials[0]._trial_id, TrialState.FAIL)
        study.enqueue_trial(first_params(spec.config.space, {"encoder": 8}))
        _lose(storage, spec)
        (path,) = (tmp_path / "checkpoints").rglob("trial-1.npz")
        path.rename(path.with_name("trial-2.npz"))
        *_, trial = _run(storage, replace(spec, study_uuid=uuid), arrays)
    assert trial.user_attrs[RESUMED_AT] == 0
    assert "checkpoint of trial id 2 is not used: other origin" in caplog.text


def test_a_trial_that_was_taken_leaves_its_checkpoint_to_whoever_runs_it_again(
    make_database: Databases, arrays: SearchArrays, tmp_path: Path
) -> None:
    with _study(make_database("one"), tmp_path, seed=1) as (storage, spec):
        study = load_study(storage, "study", spec.config)

        def take(n_looks: int) -> bool:
            if n_looks == 8:
                lost = owners_of_running(storage, study._study_id)
                retry(storage, study._study_id, lost, LOST)
            return False

        first, second = _run(storage, spec, arrays, take)
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert second.user_attrs[RETRY_OF] == first.number
    assert second.user_attrs[RESUMED_AT] > 4
    assert not list((tmp_path / "checkpoints").rglob("*.npz")), "the accepted end removes them all"


@pytest.mark.parametrize("n_bytes", [500, -500])
def test_torn_arrays_are_one_line_to_a_worker_and_written_again_by_who_has_them(
    make_database: Databases, arrays: SearchArrays, tmp_path: Path, n_bytes: int
) -> None:
    with _study(make_database("one"), tmp_path, seed=1) as (_, spec):
        write_arrays(spec.store, spec.fingerprint, arrays)
        (path,) = tmp_path.glob("arrays/*")
        path.write_bytes(path.read_bytes()[:n_bytes])
        with pytest.raises(TagsweepError, match=r"arrays/.* is torn: .* give the same command"):
            attach_worker(spec, "worker", lambda: False)
        write_arrays(spec.store, spec.fingerprint, arrays)
    read = read_arrays(spec.store, spec.fingerprint)
    np.testing.assert_array_equal(read.vectors, arrays.vectors)


def test_arrays_that_are_not_there_are_one_line_to_a_worker(
    make_database: Databases, tmp_path: Path
) -> None:
    with (
        _study(make_database("one"), tmp_path / "elsewhere", seed=1) as (_, spec),
        pytest.raises(TagsweepError, match=r"elsewhere has no arrays/.* Set workers.store to"),
    ):
        attach_worker(spec, "worker", lambda: False)
