import math
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import ray
from optuna.study import Study
from optuna.trial import TrialState
from ray.cluster_utils import Cluster

from shared.errors import TagsweepError
from shared.study.attributes import FAILURE, WORKER
from shared.study.study import load_study, read_progress
from shared.study.tables.study_storage import StudyStorage
from workers import PoolState, SearchArrays, WorkerPool, WorkerSpec, launch_workers

PATIENCE_S = 120
N_TRIALS = 300
GRACE_S = 3


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Run a head that has no place for workers, as the one of a cluster of spot machines."""
    running = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield running
    ray.shutdown()
    running.shutdown()


def _spec(make_spec, **workers: object) -> WorkerSpec:
    grace = {"heartbeat_grace_s": GRACE_S, "heartbeat_interval_s": 0.5}
    return make_spec(study={"n_trials": N_TRIALS}, workers=grace | workers)


def _wait_until(pool: WorkerPool, is_so: Callable[[PoolState], bool]) -> PoolState:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so(state := pool.poll(N_TRIALS)):
        assert time.monotonic() < deadline, f"it did not come so: {state}"
        time.sleep(0.2)
    return state


def _finished_by(study: Study) -> dict[str, int]:
    finished: dict[str, int] = {}
    for trial in study.get_trials(deepcopy=False):
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            name = trial.user_attrs[WORKER]
            finished[name] = finished.get(name, 0) + 1
    return finished


def test_a_node_that_comes_gets_work_and_one_that_goes_loses_nothing(
    cluster: Cluster, storage: StudyStorage, make_spec, arrays: SearchArrays
) -> None:
    spec = _spec(make_spec, max=2)
    study = load_study(storage, spec.study_name, spec.config)
    with launch_workers(spec.config.workers, cluster.address) as pool:
        pool.start(spec, arrays)
        assert _wait_until(pool, lambda state: state.n_waiting == 2).n_alive == 0
        assert pool.size() == 2, "though this machine has other cores"
        first = cluster.add_node(num_cpus=1)
        _wait_until(pool, lambda state: state.n_alive == 1 and len(_finished_by(study)) == 1)
        cluster.add_node(num_cpus=1)
        _wait_until(pool, lambda state: state.n_alive == 2 and len(_finished_by(study)) == 2)
        cluster.remove_node(first, allow_graceful=False)
        before = sum(_finished_by(study).values())
        _wait_until(pool, lambda _: sum(_finished_by(study).values()) > before + 20)
        deadline = time.monotonic() + PATIENCE_S
        while (state := pool.poll(N_TRIALS - read_progress(study).finished)) != PoolState(0):
            assert time.monotonic() < deadline, f"a worker without a place holds it up: {state}"
            time.sleep(0.2)
    trials = study.trials
    finished = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(finished) == N_TRIALS
    failed = [t for t in trials if t.state == TrialState.FAIL]
    assert len(failed) == len(trials) - N_TRIALS
    assert all(str(t.user_attrs[FAILURE]).startswith("lost") for t in failed)


def test_no_more_places_are_asked_for_than_the_budget_can_use(
    cluster: Cluster, make_spec, arrays: SearchArrays
) -> None:
    spec = _spec(make_spec, max=6, pack=4)
    with launch_workers(spec.config.workers, cluster.address) as pool:
        pool.start(spec, arrays)
        for n_left, n_waiting in ((100, 6), (17, 5), (8, 2), (0, 0)):
            assert pool.poll(n_left) == PoolState(0, n_waiting)
        assert math.isclose(ray.cluster_resources().get("CPU", 0), 0)


def test_a_cluster_that_has_no_place_in_time_is_one_clear_error(
    cluster: Cluster, make_spec, arrays: SearchArrays
) -> None:
    spec = _spec(make_spec, min=2, max=3, start_timeout_s=1)
    with launch_workers(spec.config.workers, cluster.address) as pool:
        pool.start(spec, arrays)
        time.sleep(1.1)
        with pytest.raises(TagsweepError, match=r"must be 2 workers .* but 0 found a place"):
            pool.poll(100)


def test_a_cluster_that_is_not_there_is_one_clear_error(make_spec, arrays: SearchArrays) -> None:
    spec = _spec(make_spec)
    with (
        launch_workers(spec.config.workers, "127.0.0.1:1") as pool,
        pytest.raises(TagsweepError, match="cluster at 127.0.0.1:1 cannot be used"),
    ):
        pool.start(spec, arrays)


def _wait_for_listener(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return


# Ray leaves the log files of its client's server open.
@pytest.mark.filterwarnings("ignore:.*ray_client_server:pytest.PytestUnraisableExceptionWarning")
def test_a_driver_outside_of_the_cluster_uses_it_through_rays_client(
    storage: StudyStorage, make_spec, arrays: SearchArrays
) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    head = {"num_cpus": 1, "ray_client_server_port": port}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    _wait_for_listener(port)
    spec = make_spec(study={"n_trials": 4}, workers={"max": 1})

    def search() -> None:
        with launch_workers(spec.config.workers, f"ray://127.0.0.1:{port}") as pool:
            pool.start(spec, arrays)
            _wait_until(pool, lambda state: not state.n_alive and not state.n_waiting)

    try:
        search()
    except TagsweepError as error:
        # Now and then gRPC loses a file descriptor as Ray forks the client's own server.
        if "Starting Ray client server failed" not in str(error):
            raise
        search()
    finally:
        cluster.shutdown()
    trials = load_study(storage, spec.study_name, spec.config).trials
    assert [trial.user_attrs[WORKER] for trial in trials] == ["worker-0"] * 4
