import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray
from optuna.trial import TrialState
from ray import exceptions
from ray._raylet import GcsClient
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from ray.exceptions import RayError, RayTaskError

from shared.config.sections import WorkersConfig
from shared.errors import InputError, TagsweepError
from shared.study.attributes import FAILURE, RETRY_OF, WORKER
from shared.study.liveness import owners_of_running
from shared.study.study import load_study
from shared.study.tables.study_storage import StudyStorage
from tests.processes import living_children
from workers import PoolState, SearchArrays, WorkerPool, WorkerSpec, launch_workers, ray_pool
from workers.ray_pool import require_lost

PATIENCE_S = 120
ONE = {"max": 1}
SENSITIVE = {"heartbeat_interval_s": 1, "heartbeat_grace_s": 5}
MANY = 1000


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not come so"
        time.sleep(0.2)


def _is_over(pool: WorkerPool) -> bool:
    return pool.poll(MANY) == PoolState(0)


@contextmanager
def _at_work(spec: WorkerSpec, arrays: SearchArrays) -> Iterator[WorkerPool]:
    with launch_workers(spec.config.workers) as pool:
        pool.start(spec, arrays)
        yield pool


def _run_to_the_end(spec: WorkerSpec, arrays: SearchArrays) -> None:
    with _at_work(spec, arrays) as pool:
        _wait_until(lambda: _is_over(pool))


def test_two_workers_share_a_budget_in_a_folder_with_foreign_code(
    storage: StudyStorage, make_spec, arrays: SearchArrays, foreign_folder: Path
) -> None:
    spec = make_spec(study={"n_trials": 8}, workers={"max": 2})
    _run_to_the_end(spec, arrays)
    trials = load_study(storage, spec.study_name, spec.config).trials
    assert [t.number for t in trials] == list(range(8))
    assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in trials)
    assert {t.user_attrs[WORKER] for t in trials} == {"worker-0", "worker-1"}
    assert not list(foreign_folder.rglob("ran-*"))


def test_a_killed_worker_comes_back_and_the_budget_is_exact(
    storage: StudyStorage, make_spec, arrays: SearchArrays
) -> None:
    spec = make_spec(study={"n_trials": 10}, training={"max_epochs": 40}, workers=ONE | SENSITIVE)
    study = load_study(storage, spec.study_name, spec.config)
    with _at_work(spec, arrays) as pool:
        _wait_until(lambda: any(t.state == TrialState.RUNNING for t in study.trials))
        os.kill(_worker_process().pid, signal.SIGKILL)
        _wait_until(lambda: _is_over(pool))
    lost = [t for t in study.trials if t.state == TrialState.FAIL]
    finished = [t for t in study.trials if t.state != TrialState.FAIL]
    assert len(finished) == 10
    assert len(lost) <= 2, "the one in training and the one asked for ahead"
    assert {t.user_attrs[RETRY_OF] for t in finished if RETRY_OF in t.user_attrs} == {
        t.number for t in lost
    }
    assert all(t.user_attrs[FAILURE].startswith("lost") for t in lost)


def test_a_preempted_worker_hands_its_trials_back_and_another_goes_on(
    storage: StudyStorage, make_spec, arrays: SearchArrays
) -> None:
    workers = ONE | {"heartbeat_grace_s": 1000}
    spec = make_spec(study={"n_trials": 8}, training={"max_epochs": 40}, workers=workers)
    study = load_study(storage, spec.study_name, spec.config)
    with _at_work(spec, arrays) as pool:
        _wait_until(lambda: any(t.state == TrialState.RUNNING for t in study.trials))
        os.kill(_worker_process().pid, signal.SIGTERM)
        _wait_until(lambda: _is_over(pool))
    back = [t for t in study.trials if t.state == TrialState.FAIL]
    assert back
    assert all(t.user_attrs[FAILURE].startswith("interrupted") for t in back)
    assert len(study.trials) == 8 + len(back)


def test_workers_of_a_node_that_is_drained_hand_their_trials_back(
    storage: StudyStorage, make_spec, arrays: SearchArrays
) -> None:
    spec = make_spec(study={"n_trials": 1000}, workers=ONE | {"heartbeat_grace_s": 1000})
    study = load_study(storage, spec.study_name, spec.config)
    with _at_work(spec, arrays) as pool:
        _wait_until(lambda: any(t.state == TrialState.RUNNING for t in study.trials))
        context = ray.get_runtime_context()
        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        accepted, why = GcsClient(address=context.gcs_address).drain_node(
            context.get_node_id(), reason, "the spot market wants it back", 0
        )
        assert accepted, why
        _wait_until(lambda: pool.poll(MANY) and not owners_of_running(storage, study._study_id))
    back = [t for t in study.trials if t.state == TrialState.FAIL]
    assert back
    assert all(t.user_attrs[FAILURE].startswith("interrupted") for t in back)


def test_stopped_workers_give_up_their_trials(
    storage: StudyStorage, make_spec, arrays: SearchArrays
) -> None:
    spec = make_spec(study={"n_trials": 1000}, workers=ONE)
    study = load_study(storage, spec.study_name, spec.config)
    with _at_work(spec, arrays) as pool:
        _wait_until(lambda: len(study.trials) > 0)
        pool.stop()
        pool.join(timeout_s=30)
    assert not any(t.state == TrialState.RUNNING for t in study.trials)
    assert len(study.trials) < 1000


def test_a_failing_worker_is_one_clear_error(make_spec, arrays: SearchArrays) -> None:
    with pytest.raises(TagsweepError, match=r"Worker 0 failed: .* fingerprint other"):
        _run_to_the_end(replace(make_spec(workers=ONE), fingerprint="other"), arrays)


def test_that_all_workers_died_is_told_with_the_cause(
    make_spec, arrays: SearchArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Worker:
        def __init__(self) -> None:
            raise ModuleNotFoundError("No module named 'keras'")

        def run(self, *_: object) -> None:
            raise NotImplementedError

        ping = run

    monkeypatch.setattr(ray_pool, "Worker", Worker)
    with pytest.raises(TagsweepError, match=r"^All workers died: .*No module named 'keras'\. Run"):
        _run_to_the_end(make_spec(workers=ONE), arrays)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ActorDiedError(),
        exceptions.ActorUnavailableError("away", None),
        exceptions.ActorUnschedulableError("no place"),
        exceptions.NodeDiedError("preempted"),
        exceptions.ObjectLostError("", None, ""),
        exceptions.OutOfMemoryError("too little"),
        exceptions.RaySystemError("broken"),
        exceptions.RuntimeEnvSetupError("no disk"),
        exceptions.WorkerCrashedError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_each_error_of_ray_is_a_lost_worker(error: RayError) -> None:
    assert require_lost(0, error).endswith(".")


def test_an_error_of_a_task_is_none() -> None:
    error = RayTaskError("run", "Traceback", ValueError("no room"))
    with pytest.raises(TagsweepError, match="Worker 3 failed: no room"):
        require_lost(3, error)


def test_a_ray_that_dies_is_one_clear_error_and_leaves_nothing(
    make_spec, arrays: SearchArrays
) -> None:
    spec = make_spec(study={"n_trials": 1000}, workers=ONE)
    with _at_work(spec, arrays) as pool:
        assert pool.size() == 1
        _wait_until(lambda: pool.poll(MANY).n_alive == 1)
        (raylet,) = living_children("raylet/raylet")
        raylet.kill()
        with pytest.raises(TagsweepError, match="Ray's process raylet died on this machine"):
            _wait_until(lambda: _is_over(pool))
        pool.stop()
        pool.join(timeout_s=30)
    assert not living_children("ray")


def test_workers_that_cannot_be_had_are_one_clear_error(make_spec, arrays: SearchArrays) -> None:
    with pytest.raises(InputError, match="1 workers .* do not fit on this machine's 0 GPUs"):
        _run_to_the_end(make_spec(workers={"gpus_per_worker": 1}), arrays)


def test_a_pool_that_never_started_leaves_no_process_and_no_handler() -> None:
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with launch_workers(WorkersConfig(max=1)) as pool:
        pool.stop()
    assert not living_children("/ray/core/")
    assert signal.getsignal(signal.SIGTERM) is on_sigterm


def _worker_process() -> psutil.Process:
    """Return the process of the Ray actor, whose title Ray sets."""
    (process,) = living_children("ray::Worker")
    return process
