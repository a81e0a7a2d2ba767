"""Run workers as Ray actors. The only file that imports Ray."""

import logging
import os
import signal
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from shared.config import WorkersConfig
from shared.errors import InputError, TagsweepError
from workers.launch import PoolState
from workers.spec import SearchArrays, WorkerSpec

MAX_RESTARTS = 3
"""How often Ray starts a worker again whose process died, before it counts as lost."""

logger = logging.getLogger(__name__)


class Worker:
    """Be one worker in a process of its own; `stop` is heard while `run` works."""

    def __init__(self) -> None:
        """Wait for work."""
        self._stopping = threading.Event()

    def run(
        self,
        spec: WorkerSpec,
        vectors: npt.NDArray[np.float32],
        arrays: tuple[npt.NDArray[Any], ...],
        number: int,
    ) -> None:
        """Pull trials until the budget is spent or `stop` was called."""
        from shared.training.backends import current_backend
        from workers.worker import run_worker

        current_backend().use_one_thread()
        run_worker(spec, SearchArrays(vectors, *arrays), number, self._stopping.is_set)

    def stop(self) -> None:
        """Give up the trial at the end of its epoch."""
        self._stopping.set()


class RayPool:
    """Be a pool of Ray actors on this machine."""

    def __init__(self, spec: WorkerSpec, arrays: SearchArrays) -> None:
        """Start Ray and the workers; each takes one CPU and the configured share of a GPU."""
        config = spec.config.workers
        n_cpus = os.cpu_count() or 1
        _start_ray(n_cpus=max(config.n_workers or 1, n_cpus))
        n_workers = count_workers(config, n_cpus, ray.cluster_resources().get("GPU", 0.0))
        # Ray shares top-level arguments only: arrays inside a dataclass would be copied for each.
        vectors = ray.put(np.asarray(arrays.vectors))
        rest = ray.put((np.asarray(arrays.labels), arrays.train_rows, arrays.valid_rows))
        actor: Any = ray.remote(Worker)
        self._workers = [
            actor.options(
                num_cpus=1,
                num_gpus=config.gpus_per_worker,
                max_restarts=MAX_RESTARTS,
                max_task_retries=MAX_RESTARTS,
                max_concurrency=2,
            ).remote()
            for _ in range(n_workers)
        ]
        self._runs = {
            worker.run.remote(spec, vectors, rest, number): number
            for number, worker in enumerate(self._workers)
        }

    def poll(self) -> PoolState:
        """Return the state of the workers.

        Raises TagsweepError when a worker met an error of the program, or when all are lost.
        """
        done, running = ray.wait(list(self._runs), num_returns=len(self._runs), timeout=0)
        lost = tuple(self._runs[run] for run in done if self._is_lost(run))
        if len(lost) == len(self._runs):
            raise TagsweepError("All workers died. Run the same command again to go on.")
        return PoolState(n_alive=len(running), lost=lost)

    def stop(self) -> None:
        """Tell all workers to give up their trials at the end of the epoch."""
        for worker in self._workers:
            worker.stop.remote()

    def join(self, timeout_s: float) -> None:
        """Wait until all workers have left, then end Ray and whatever is left of it."""
        try:
            ray.wait(list(self._runs), num_returns=len(self._runs), timeout=timeout_s)
        except RayError as error:
            logger.warning("Ray failed while the workers were leaving: %s", error)
        finally:
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


def _start_ray(n_cpus: int) -> None:
    """Start a Ray of our own on this machine, and keep the signals as they were.

    Ray puts a handler in the place of SIGTERM's that ends the process on the spot, without a
    chance to stop workers and database.
    """
    on_sigterm = signal.getsignal(signal.SIGTERM)
    # It would tell every user that the cluster is protected, and how to unprotect it.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    ray.init(
        num_cpus=n_cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        configure_logging=False,
    )
    signal.signal(signal.SIGTERM, on_sigterm)
