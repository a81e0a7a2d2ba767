"""Run workers as Ray actors."""

import importlib
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from shared.config.sections import WorkersConfig
from shared.errors import TagsweepError
from shared.gpu_memory import bound_memory
from workers.pool import PoolState
from workers.ray_session import (
    RaySession,
    ask_for,
    assigned_gpus,
    cause_of,
    count_places,
    what_there_is,
)
from workers.spec import SearchArrays, WorkerSpec, pool_worker_name

MAX_RESTARTS = 100
"""How often Ray starts a worker again whose process died, before it counts as lost: preempted
machines are no fault of it, but what kills every worker at its start must end."""
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
        bound_memory(assigned_gpus())
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

        run_worker(
            spec, SearchArrays(vectors, *arrays), pool_worker_name(number), self._stopping.is_set
        )
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
        self._session = RaySession(config, address, partial(_ask_for_workers, config, address))
        self._runs: dict[Any, int] = {}
        self._causes: dict[int, str] = {}
        self._pings: dict[Any, int] = {}
        self._seen_s: dict[int, float] = {}
        self._started_s = 0.0

    def size(self) -> int:
        """Return how many workers were asked for."""
        return len(self._session.actors())

    def start(self, spec: WorkerSpec, arrays: SearchArrays) -> None:
        """Send the arrays to the cluster once, and let all workers begin."""
        workers = self._session.actors()
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

        Raises TagsweepError when a worker met an error of the program, when all are lost, when Ray
        has died here, or when the cluster has not had a place for the least number in time.
        """
        self._session.require_alive()
        self._require_places()
        done, running = ray.wait(list(self._runs), num_returns=len(self._runs), timeout=0)
        lost = tuple(self._runs[run] for run in done if self._is_lost(run))
        if self._runs and len(lost) == len(self._runs):
            raise TagsweepError(
                f"All workers died: {self._causes[lost[-1]]} Run the same command again to go on."
            )
        present = self._present()
        waiting = sorted({self._runs[run] for run in running} - present)
        n_heads = self._config.pack if isinstance(self._config.pack, int) else 1
        n_at_work = len(running) - len(waiting)
        n_wanted = max(0, math.ceil(n_left / n_heads) - n_at_work)
        self._let_go(waiting[n_wanted:])
        return PoolState(n_at_work, min(len(waiting), n_wanted), lost)

    def stop(self) -> None:
        """Tell all workers to give up their trials at the end of the epoch."""
        if not self._runs or not self._session.is_alive:
            return
        present = self._present()
        for number in present & set(self._runs.values()):
            self._session.actors()[number].stop.remote()
        self._let_go(set(self._runs.values()) - present)

    def join(self, timeout_s: float) -> None:
        """Wait until all workers have left, then end Ray here and whatever is left of the pool."""
        try:
            if self._runs and self._session.is_alive:
                ray.wait(list(self._runs), num_returns=len(self._runs), timeout=timeout_s)
        except RayError as error:
            logger.warning("Ray failed while the workers were leaving: %s", error)
        finally:
            self._session.close()

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
            self._pings[_ping(self._session.actors()[number])] = number
        since_s = time.monotonic() - ABSENT_S
        return {number for number, seen_s in self._seen_s.items() if seen_s > since_s}

    def _let_go(self, numbers: Iterable[int]) -> None:
        """Withdraw workers that wait for a place, so that no machine is started for them."""
        unwanted = set(numbers)
        for number in unwanted:
            ray.kill(self._session.actors()[number])
        self._runs = {run: n for run, n in self._runs.items() if n not in unwanted}
        self._pings = {ping: n for ping, n in self._pings.items() if n not in unwanted}

    def _require_places(self) -> None:
        config, n_placed = self._config, len(self._seen_s)
        waited_s = time.monotonic() - self._started_s
        if n_placed < min(config.min, len(self._runs)) and waited_s > config.start_timeout_s:
            raise TagsweepError(
                f"There must be {config.min} workers (workers.min) within"
                f" {config.start_timeout_s:g} s, each with {config.cpus_per_worker:g} CPUs and"
                f" {config.gpus_per_worker:g} GPUs, but {n_placed} found a place."
                f" {what_there_is()} Add nodes to it, or ask for less."
            )

    def _is_lost(self, run: ray.ObjectRef[None]) -> bool:
        number = self._runs[run]
        if number in self._causes:
            return True
        try:
            ray.get(run)
        except RayError as error:
            self._causes[number] = require_lost(number, error)
            logger.warning("Worker %d was lost: %s", number, error)
            ray.kill(self._session.actors()[number])  # where it cannot be reached, it may yet work
            return True
        return False


def require_lost(number: int, error: RayError) -> str:
    """Say why a worker was lost; raise TagsweepError where it met an error of the program."""
    if isinstance(error, RayTaskError):
        logger.info("Worker %d failed", number, exc_info=error)
        raise TagsweepError(f"Worker {number} failed: {error.cause}") from error
    return cause_of(error)


def _ping(worker: Any) -> Any:
    """Ask a worker whether it is there; once, since it is asked again and again."""
    return worker.ping.options(max_task_retries=0).remote()


def _ask_for_workers(config: WorkersConfig, address: str | None) -> list[Any]:
    options = {
        "max_restarts": MAX_RESTARTS,
        "max_task_retries": MAX_RESTARTS,
        "max_concurrency": 3,
    }
    return [ask_for(Worker, config, **options) for _ in range(count_places(config, address))]
