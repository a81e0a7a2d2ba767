"""Start Ray on this machine, or connect to a cluster, in a way that is safe to leave to it."""

import logging
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.job_config import JobConfig

from shared.config.sections import WorkersConfig
from shared.cores import usable_cores
from shared.errors import TagsweepError
from shared.versions import PACKAGES
from workers.watchdog import watching

CONNECT_TIMEOUT_S = 10
"""How long the head of a cluster may take to answer."""
PLACE = Path(__file__).parent.parent
"""The folder that our packages were imported from."""
_QUIET: dict[str, Any] = {
    "log_to_driver": False,
    "logging_level": logging.WARNING,
    "configure_logging": False,
}


class StartError(TagsweepError):
    """Say that Ray's own processes did not come up, as happens on a machine with much to do."""


class _Job(JobConfig):
    """A Ray job whose processes run what its driver does, wherever it was called."""

    def _runtime_env_has_working_dir(self) -> bool:
        # Otherwise Ray has them look into the current directory first, and then into the command's:
        # a folder called `shared` there would take the place of ours.
        return True


@contextmanager
def own_ray(config: WorkersConfig) -> Iterator[None]:
    """Have a Ray of our own on this machine, with room for as many workers as are asked for."""
    _be_quiet()
    n_needed = math.ceil(max(config.min, config.max or 1) * config.cpus_per_worker)
    try:
        ray.init(
            # Not whatever `ray start` has left here, alive or dead.
            address="local",
            num_cpus=max(n_needed, usable_cores()),
            include_dashboard=False,
            job_config=_Job(_py_driver_sys_path=[str(PLACE)]),
            # Ray's own, 15, leaves next to nothing beside any other process that computes.
            _system_config={"worker_niceness": 0},
            **_QUIET,
        )
    except Exception as error:  # Ray raises a bare one
        ray.shutdown()
        raise StartError(
            f"Ray cannot be started on this machine: {' '.join(str(error).split())} Its logs lie in"
            " /tmp/ray/session_latest/logs."
        ) from error
    with watching(Path(current_node().get_session_dir_path())), _shutting_down():
        yield


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to a cluster whose nodes have our code, unless a Ray job has brought it."""
    _be_quiet()
    _require_listener(address)
    environment = {} if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else {"py_modules": _code()}
    # Ray's client sends what its server must be able to import, and runs nothing where we are.
    job: dict[str, Any] = {} if address.startswith("ray://") else {"job_config": _Job()}
    try:
        ray.init(address=address, runtime_env=environment, **job, **_QUIET)
    except (ConnectionError, RuntimeError, RayError) as error:
        raise TagsweepError(
            f"The Ray cluster at {address} cannot be used: {' '.join(str(error).split())}"
        ) from error
    with _shutting_down():
        yield


@contextmanager
def _shutting_down() -> Iterator[None]:
    try:
        yield
    finally:
        ray.shutdown()


def current_node() -> Any:
    """Return what Ray knows of its processes here; None where it has not started any."""
    return ray._private.worker._global_node  # noqa: SLF001


def ended_processes() -> list[str]:
    """Return which of the processes that a Ray of our own cannot do without have ended."""
    node = current_node()
    ended = [kind for kind, _ in node.dead_processes()] if node else []
    return [kind for kind in ended if kind in ("raylet", "gcs_server")]


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
