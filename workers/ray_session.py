"""Keep Ray running beside the driver, and ask for actors and for what there is."""

import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayError

from shared.config.sections import WorkersConfig
from shared.errors import InputError, TagsweepError
from workers.ray_connection import StartError, connected, ended_processes, own_ray

START_TRIES = 2
"""How often a Ray of our own is started that does not come up."""

logger = logging.getLogger(__name__)

Actors = TypeVar("Actors")


class RaySession(Generic[Actors]):
    """Keep Ray running in a thread, with the actors that were asked for."""

    def __init__(
        self, config: WorkersConfig, address: str | None, begin: Callable[[], Actors]
    ) -> None:
        """Start Ray, or connect to the cluster at `address`, and call `begin`, all in a thread."""
        self._ray = partial(own_ray, config) if address is None else partial(connected, address)
        self._begin = begin
        self._actors: Future[Actors] = Future()
        self._leaving = threading.Event()
        self._n_tries = 0
        self._start_thread()

    @property
    def is_alive(self) -> bool:
        """Whether Ray may still be asked; afterwards any question would start another one."""
        return self._thread.is_alive() and not ended_processes()

    def require_alive(self) -> None:
        """Raise TagsweepError when Ray has died here: its core is about to end this process too."""
        if ended := ended_processes():
            raise TagsweepError(
                f"Ray's process {ended[0]} died on this machine. Run the same command again to go"
                " on."
            )

    def actors(self) -> Actors:
        """Wait for what `begin` returned, or raise what it, or Ray's start, raised."""
        actors = self._actors.result()
        # Ray has put a handler of its own below Python's, which aborts without stopping anything.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        return actors

    def close(self) -> None:
        """End Ray here, and all actors with it."""
        self._leaving.set()
        while self._thread.is_alive():  # another one, after a start that failed
            self._thread.join()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._keep_ray, name="ray")
        thread.start()
        self._thread = thread

    def _keep_ray(self) -> None:
        """Start Ray and end it: its processes die with the thread that started them."""
        # Which they inherit: a terminal that goes is for the driver, who then ends them in order.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        self._n_tries += 1
        try:
            with self._ray():
                self._actors.set_result(self._begin())
                self._leaving.wait()
        except StartError as error:
            if self._n_tries < START_TRIES:
                logger.warning("%s It is tried once more.", error)
                self._start_thread()
            else:
                self._actors.set_exception(error)
        except BaseException as error:
            if self._actors.done():
                raise
            self._actors.set_exception(error)  # whoever asks for the actors raises it


def ask_for(actor: type, config: WorkersConfig, *arguments: Any, **options: Any) -> Any:
    """Have an actor as soon as there is a place for it, with the resources of a worker."""
    remote: Any = ray.remote(actor)
    resources = {"num_cpus": config.cpus_per_worker, "num_gpus": config.gpus_per_worker}
    return remote.options(**resources, **options).remote(*arguments)


def assigned_gpus() -> float:
    """Return how many GPUs, or what share of one, the actor has that this is called in."""
    return float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))


def count_places(config: WorkersConfig, address: str | None) -> int:
    """Return how many workers to ask for; raise InputError when this machine cannot hold them."""
    resources = ray.cluster_resources()
    n_gpus = resources.get("GPU", 0.0)
    n_workers = count_workers(config, resources.get("CPU", 0.0), n_gpus)
    if address is None and n_workers * config.gpus_per_worker > n_gpus:
        raise InputError(
            f"{n_workers} workers with workers.gpus_per_worker {config.gpus_per_worker:g} do not"
            f" fit on this machine's {n_gpus:g} GPUs. Ask for fewer (--n-workers), or for less."
        )
    return n_workers


def count_workers(config: WorkersConfig, n_cpus: float, n_gpus: float) -> int:
    """Return how many workers to ask for: as configured, or what the CPUs and GPUs hold."""
    n_held = int(n_cpus / config.cpus_per_worker)
    if config.gpus_per_worker:
        n_held = min(n_held, int(n_gpus / config.gpus_per_worker))
    return config.max or max(config.min, n_held)


def cause_of(error: RayError) -> str:
    """Say in a line why an actor was lost: Ray's words end with the cause, after a traceback."""
    line = [type(error).__name__, *str(error).strip().splitlines()][-1].strip()
    return f"{line.removesuffix('.')}."


def what_there_is() -> str:
    """Say what the cluster has that actors can be given."""
    resources = {name: n for name, n in ray.cluster_resources().items() if name.isupper()}
    return f"The cluster has {resources or 'nothing'}."
