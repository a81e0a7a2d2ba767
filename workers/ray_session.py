"""Start Ray on this machine, or connect to a cluster, and ask what it holds."""

import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayError

from shared.errors import InputError, TagsweepError
from shared.sections import WorkersConfig
from shared.versions import PACKAGES

CONNECT_TIMEOUT_S = 10
"""How long the head of a cluster may take to answer."""

Actors = TypeVar("Actors")


class RaySession(Generic[Actors]):
    """Keep Ray running in a thread, with the actors that were asked for."""

    def __init__(
        self, config: WorkersConfig, address: str | None, begin: Callable[[], Actors]
    ) -> None:
        """Start Ray, or connect to the cluster at `address`, and call `begin`, all in a thread."""
        self._actors: Future[Actors] = Future()
        self._leaving = threading.Event()
        self._thread = threading.Thread(
            target=self._keep_ray, args=(config, address, begin), name="ray"
        )
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether Ray may still be asked; afterwards any question would start another one."""
        return self._thread.is_alive()

    def actors(self) -> Actors:
        """Wait for what `begin` returned, or raise what it, or Ray's start, raised."""
        actors = self._actors.result()
        # Ray has put a handler of its own below Python's, which aborts without stopping anything.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        return actors

    def close(self) -> None:
        """End Ray here, and all actors with it."""
        self._leaving.set()
        self._thread.join()

    def _keep_ray(
        self, config: WorkersConfig, address: str | None, begin: Callable[[], Actors]
    ) -> None:
        """Start Ray and end it: its processes die with the thread that started them."""
        try:
            _start_ray(config) if address is None else _connect(address)
            self._actors.set_result(begin())
        except BaseException as error:  # noqa: BLE001  whoever asks for the actors raises it
            self._actors.set_exception(error)
        self._leaving.wait()
        ray.shutdown()


def ask_for(actor: type, config: WorkersConfig, *arguments: Any, **options: Any) -> Any:
    """Have an actor as soon as there is a place for it, with the resources of a worker."""
    remote: Any = ray.remote(actor)
    resources = {"num_cpus": config.cpus_per_worker, "num_gpus": config.gpus_per_worker}
    return remote.options(**resources, **options).remote(*arguments)


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


def what_there_is() -> str:
    """Say what the cluster has that actors can be given."""
    resources = {name: n for name, n in ray.cluster_resources().items() if name.isupper()}
    return f"The cluster has {resources or 'nothing'}."


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
