"""Run workers as Ray actors. The only file that imports Ray."""

import importlib
import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from shared.errors import InputError, TagsweepError
from shared.sections import WorkersConfig
from shared.versions import PACKAGES
from workers.launch import PoolState
from workers.spec import SearchArrays, WorkerSpec

MAX_RESTARTS = 100
"""How often Ray starts a worker again whose process died, before it counts as lost: preempted
machines are no fault of it, but what kills every worker at its start must end."""
CONNECT_TIMEOUT_S = 10
"""How long the head of a cluster may take to answer."""
ABSENT_S = 20.0
"""A worker that has not answered for so long has no place; tracing keeps one busy for seconds."""
DRAIN_POLL_S = 1.0
"""How often a worker asks whether its node is about to be taken."""

logger = logging.getLogger(__name__)


class Worker:
    """Be one worker in a process of its own; `stop` and SIGTERM are heard while `run` works."""

    def __init__(self) -> None:
        """Import what training needs, and wait for work."""
        self._stopping = threading.Event()
        self._is_preempted = False
        signal.signal(signal.SIGTERM, self._leave)
        from shared.training.backends import current_backend

        current_backend().use_one_thread()
        importlib.import_module("workers.worker")
        threading.Thread(target=self._watch_node, name="node", daemon=True).start()

    def run(
        self,
        spec: WorkerSpec,
        vectors: npt.NDArray[np.float32],
        arrays: tuple[Any, ...],
        number: int,
    ) -> None:
        """Pull trials until the budget is spent or `stop` was called."""
        from workers.worker import run_worker

        run_worker(spec, SearchArrays(vectors, *arrays), number, self._stopping.is_set)
        if self._is_preempted:
            # Returning would say that the study needs no more; so Ray starts another worker.
            os._exit(1)

    def stop(self) -> None:
        """Give up the trial at the end of its epoch."""
        self._stopping.set()

    def ping(self) -> None:
        """Answer, to show that this worker is there."""

    def _watch_node(self) -> None:
        """Go as on SIGTERM when this node is to be taken: Ray tells only whoever asks."""
        node_id = ray.get_runtime_context().get_node_id()
        while not self._stopping.wait(DRAIN_POLL_S):
            if node_id in ray._private.state.state.get_draining_nodes():  # noqa: SLF001
                self._leave()

    def _leave(self, *_: object) -> None:
        """Keep and hand back the trials under way, and go: the machine is about to be taken."""
        self._is_preempted = True
        self._stopping.set()


class RayPool:
    """Be a pool of Ray actors, on a cluster or on this machine."""

    def __init__(self, config: WorkersConfig, address: str | None = None) -> None:
        """Start Ray, or connect to the cluster at `address`, and ask for workers, in a thread."""
        self._config = config
        self._workers: Future[list[Any]] = Future()
        self._runs: dict[Any, int] = {}
        self._pings: dict[Any, int] = {}
        self._seen_s: dict[int, float] = {}
        self._started_s = 0.0
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._keep_ray, args=(address,), name="ray")
        self._thread.start()

    def start(self, spec: WorkerSpec, arrays: SearchArrays) -> None:
        """Send the arrays to the cluster once, and let all workers begin."""
        workers = self._workers.result()
        # Ray has put a handler of its own below Python's, which aborts without stopping anything.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        # Ray shares top-level arguments only: arrays inside a dataclass would be copied for each.
        vectors = ray.put(np.asarray(arrays.vectors))
        rest = ray.put((np.asarray(arrays.labels), arrays.folds, arrays.widths))
        self._pings = {_ping(worker): number for number, worker in enumerate(workers)}
        self._runs = {
            worker.run.remote(spec, vectors, rest, number): number
            for number, worker in enumerate(workers)
        }
        self._started_s = time.monotonic()

    def poll(self, n_left: int) -> PoolState:
        """Return the state of the workers, and let go of those without a place that are too many.

        Raises TagsweepError when a worker met an error of the program, when all are lost, or when
        the cluster has not had a place for the least number in time.
        """
        self._require_places()
        done, running = ray.wait(list(self._runs), num_returns=len(self._runs), timeout=0)
        lost = tuple(self._runs[run] for run in done if self._is_lost(run))
        if self._runs and len(lost) == len(self._runs):
            raise TagsweepError("All workers died. Run the same command again to go on.")
        present = self._present()
        waiting = sorted({self._runs[run] for run in running} - present)
        n_heads = self._config.pack if isinstance(self._config.pack, int) else 1
        n_at_work = len(running) - len(waiting)
        n_wanted = max(0, math.ceil(n_left / n_heads) - n_at_work)
        self._let_go(waiting[n_wanted:])
        return PoolState(n_at_work, min(len(waiting), n_wanted), lost)

    def stop(self) -> None:
        """Tell all workers to give up their trials at the end of the epoch."""
        if not self._runs:
            return  # any question to Ray would start another one
        present = self._present()
        for number in present & set(self._runs.values()):
            self._workers.result()[number].stop.remote()
        self._let_go(set(self._runs.values()) - present)

    def join(self, timeout_s: float) -> None:
        """Wait until all workers have left, then end Ray here and whatever is left of the pool."""
        try:
            if self._runs and self._thread.is_alive():
                ray.wait(list(self._runs), num_returns=len(self._runs), timeout=timeout_s)
        except RayError as error:
            logger.warning("Ray failed while the workers were leaving: %s", error)
        finally:
            self._leaving.set()
            self._thread.join()

    def _present(self) -> set[int]:
        """Return the workers that have answered lately: the others have no place, or lost it."""
        answered, _ = ray.wait(list(self._pings), num_returns=len(self._pings), timeout=0)
        for ping in answered:
            number = self._pings.pop(ping)
            try:
                ray.get(ping)
                self._seen_s[number] = time.monotonic()
            except ActorDiedError:
                continue
            except RayError as error:
                logger.debug("Worker %d does not answer: %s", number, error)
            self._pings[_ping(self._workers.result()[number])] = number
        since_s = time.monotonic() - ABSENT_S
        return {number for number, seen_s in self._seen_s.items() if seen_s > since_s}

    def _let_go(self, numbers: Iterable[int]) -> None:
        """Withdraw workers that wait for a place, so that no machine is started for them."""
        unwanted = set(numbers)
        for number in unwanted:
            ray.kill(self._workers.result()[number])
        self._runs = {run: n for run, n in self._runs.items() if n not in unwanted}
        self._pings = {ping: n for ping, n in self._pings.items() if n not in unwanted}

    def _require_places(self) -> None:
        config, n_placed = self._config, len(self._seen_s)
        waited_s = time.monotonic() - self._started_s
        if n_placed < min(config.min, len(self._runs)) and waited_s > config.start_timeout_s:
            resources = {name: n for name, n in ray.cluster_resources().items() if name.isupper()}
            raise TagsweepError(
                f"There must be {config.min} workers (workers.min) within"
                f" {config.start_timeout_s:g} s, each with {config.cpus_per_worker:g} CPUs and"
                f" {config.gpus_per_worker:g} GPUs, but {n_placed} found a place. The cluster has"
                f" {resources or 'nothing'}. Add nodes to it, or ask for less."
            )

    def _keep_ray(self, address: str | None) -> None:
        """Start Ray and end it: its processes die with the thread that started them."""
        try:
            self._workers.set_result(_start_workers(self._config, address))
        except BaseException as error:  # noqa: BLE001  whoever starts the pool raises it
            self._workers.set_exception(error)
        self._leaving.wait()
        ray.shutdown()

    def _is_lost(self, run: ray.ObjectRef[None]) -> bool:
        number = self._runs[run]
        try:
            ray.get(run)
        except ActorDiedError as error:
            logger.warning("Worker %d was lost: %s", number, error)
            return True
        except RayTaskError as error:
            logger.info("Worker %d failed", number, exc_info=error)
            raise TagsweepError(f"Worker {number} failed: {error.cause}") from error
        return False


def _ping(worker: Any) -> Any:
    """Ask a worker whether it is there; once, since it is asked again and again."""
    return worker.ping.options(max_task_retries=0).remote()


def count_workers(config: WorkersConfig, n_cpus: float, n_gpus: float) -> int:
    """Return how many workers to ask for: as configured, or what the CPUs and GPUs hold."""
    n_held = int(n_cpus / config.cpus_per_worker)
    if config.gpus_per_worker:
        n_held = min(n_held, int(n_gpus / config.gpus_per_worker))
    return config.max or max(config.min, n_held)


def _start_workers(config: WorkersConfig, address: str | None) -> list[Any]:
    """Start Ray, or connect to it, and ask for the actors."""
    if address is None:
        _start_ray(config)
    else:
        _connect(address)
    resources = ray.cluster_resources()
    n_gpus = resources.get("GPU", 0.0)
    n_workers = count_workers(config, resources.get("CPU", 0.0), n_gpus)
    if address is None and n_workers * config.gpus_per_worker > n_gpus:
        raise InputError(
            f"{n_workers} workers with workers.gpus_per_worker {config.gpus_per_worker:g} do not"
            f" fit on this machine's {n_gpus:g} GPUs. Ask for fewer (--n-workers), or for less."
        )
    actor: Any = ray.remote(Worker)
    options = actor.options(
        num_cpus=config.cpus_per_worker,
        num_gpus=config.gpus_per_worker,
        max_restarts=MAX_RESTARTS,
        max_task_retries=MAX_RESTARTS,
        max_concurrency=3,
    )
    return [options.remote() for _ in range(n_workers)]


def _start_ray(config: WorkersConfig) -> None:
    """Start a Ray of our own on this machine, with room for as many workers as are asked for."""
    _be_quiet()
    n_needed = math.ceil(max(config.min, config.max or 1) * config.cpus_per_worker)
    ray.init(
        # Not whatever `ray start` has left here, alive or dead.
        address="local",
        num_cpus=max(n_needed, os.cpu_count() or 1),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        configure_logging=False,
    )


def _connect(address: str) -> None:
    """Connect to a cluster, and send our code to its nodes, unless a Ray job has brought it."""
    _be_quiet()
    _require_listener(address)
    environment = {} if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else {"py_modules": _code()}
    try:
        ray.init(
            address=address,
            runtime_env=environment,
            log_to_driver=False,
            logging_level=logging.WARNING,
            configure_logging=False,
        )
    except (ConnectionError, RuntimeError, RayError) as error:
        raise TagsweepError(
            f"The Ray cluster at {address} cannot be used: {' '.join(str(error).split())}"
        ) from error


def _require_listener(address: str) -> None:
    """Raise TagsweepError when nobody answers: Ray itself would try for two minutes, and exit."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise TagsweepError(
            f"The Ray cluster at {address} cannot be used: {error}. Check that its head runs, and"
            " the way to it."
        ) from error


def _code() -> list[str]:
    """Return the folders of the packages that a worker runs."""
    specs = (find_spec(package) for package in PACKAGES)
    return [str(Path(spec.origin).parent) for spec in specs if spec and spec.origin]


def _be_quiet() -> None:
    """Keep Ray from telling every user that it is protected, and that SIGTERM is not its own."""
    for name in ("ray._private.authentication", "ray._private.worker"):
        logging.getLogger(name).setLevel(logging.ERROR)
