"""Run workers as Ray actors. The only file that imports Ray."""

import importlib
import logging
import os
import signal
import threading
from concurrent.futures import Future
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from shared.config import WorkersConfig
from shared.errors import InputError, TagsweepError
from workers.launch import PoolState
from workers.spec import SearchArrays, WorkerSpec

MAX_RESTARTS = 100
"""How often Ray starts a worker again whose process died, before it counts as lost: preempted
machines are no fault of it, but what kills every worker at its start must end."""

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

    def run(
        self,
        spec: WorkerSpec,
        vectors: npt.NDArray[np.float32],
        arrays: tuple[npt.NDArray[Any], ...],
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

    def leave(self, node_ids: frozenset[str]) -> None:
        """Go as on SIGTERM when this is on one of the nodes that are about to be taken."""
        if ray.get_runtime_context().get_node_id() in node_ids:
            self._leave()

    def _leave(self, *_: object) -> None:
        """Keep and hand back the trials under way, and go: the machine is about to be taken."""
        self._is_preempted = True
        self._stopping.set()


class RayPool:
    """Be a pool of Ray actors on this machine."""

    def __init__(self, config: WorkersConfig) -> None:
        """Start Ray and the workers in a thread; each takes a CPU and its share of a GPU."""
        self._workers: Future[list[Any]] = Future()
        self._runs: dict[Any, int] = {}
        self._draining: frozenset[str] = frozenset()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._keep_ray, args=(config,), name="ray")
        self._thread.start()

    def start(self, spec: WorkerSpec, arrays: SearchArrays) -> None:
        """Send the arrays to the node once, and let all workers begin."""
        workers = self._workers.result()
        # Ray has put a handler of its own below Python's, which aborts without stopping anything.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        # Ray shares top-level arguments only: arrays inside a dataclass would be copied for each.
        vectors = ray.put(np.asarray(arrays.vectors))
        rest = ray.put((np.asarray(arrays.labels), arrays.train_rows, arrays.valid_rows))
        self._runs = {
            worker.run.remote(spec, vectors, rest, number): number
            for number, worker in enumerate(workers)
        }

    def poll(self) -> PoolState:
        """Return the state of the workers; those on nodes that Ray drains are told to leave.

        Raises TagsweepError when a worker met an error of the program, or when all are lost.
        """
        self._leave_draining_nodes()
        done, running = ray.wait(list(self._runs), num_returns=len(self._runs), timeout=0)
        lost = tuple(self._runs[run] for run in done if self._is_lost(run))
        if len(lost) == len(self._runs):
            raise TagsweepError("All workers died. Run the same command again to go on.")
        return PoolState(n_alive=len(running), lost=lost)

    def stop(self) -> None:
        """Tell all workers to give up their trials at the end of the epoch."""
        for worker in self._workers.result() if self._runs else ():
            worker.stop.remote()

    def join(self, timeout_s: float) -> None:
        """Wait until all workers have left, then end Ray and whatever is left of it."""
        try:
            if self._runs and self._thread.is_alive():
                ray.wait(list(self._runs), num_returns=len(self._runs), timeout=timeout_s)
        except RayError as error:
            logger.warning("Ray failed while the workers were leaving: %s", error)
        finally:
            self._leaving.set()
            self._thread.join()

    def _leave_draining_nodes(self) -> None:
        """Pass Ray's notices of preemption on: it tells only whoever asks, as Ray Serve does."""
        draining = frozenset(ray._private.state.state.get_draining_nodes())  # noqa: SLF001
        if draining - self._draining:
            logger.info("Nodes that are about to be taken: %s", ", ".join(sorted(draining)))
            for worker in self._workers.result():
                worker.leave.remote(draining)
        self._draining = draining

    def _keep_ray(self, config: WorkersConfig) -> None:
        """Start Ray and end it: its processes die with the thread that started them."""
        try:
            self._workers.set_result(_start_workers(config))
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


def count_workers(config: WorkersConfig, n_cpus: int, n_gpus: float) -> int:
    """Return how many workers to start: as configured, or one a core, or what the GPUs hold.

    Raises InputError when the GPUs do not hold that many.
    """
    if not config.gpus_per_worker:
        return config.n_workers or n_cpus
    n_held = int(n_gpus / config.gpus_per_worker)
    if n_held < (config.n_workers or 1):
        raise InputError(
            f"workers.gpus_per_worker is {config.gpus_per_worker:g}, so this machine's {n_gpus:g}"
            f" GPUs hold {n_held} workers, but {config.n_workers or 1} are asked for."
        )
    return config.n_workers or n_held


def _start_workers(config: WorkersConfig) -> list[Any]:
    """Start Ray and the actors."""
    n_cpus = os.cpu_count() or 1
    _start_ray(n_cpus=max(config.n_workers or 1, n_cpus))
    n_workers = count_workers(config, n_cpus, ray.cluster_resources().get("GPU", 0.0))
    actor: Any = ray.remote(Worker)
    options = actor.options(
        num_cpus=1,
        num_gpus=config.gpus_per_worker,
        max_restarts=MAX_RESTARTS,
        max_task_retries=MAX_RESTARTS,
        max_concurrency=2,
    )
    return [options.remote() for _ in range(n_workers)]


def _start_ray(n_cpus: int) -> None:
    """Start a Ray of our own on this machine."""
    # They would tell every user that the cluster is protected, and that SIGTERM is not Ray's.
    for name in ("ray._private.authentication", "ray._private.worker"):
        logging.getLogger(name).setLevel(logging.ERROR)
    ray.init(
        num_cpus=n_cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        configure_logging=False,
    )
