"""Start a pool of workers: the one thing that the orchestrator asks of this package."""

from dataclasses import dataclass
from typing import Protocol

from workers.spec import SearchArrays, WorkerSpec


@dataclass(frozen=True)
class PoolState:
    """Say how many workers are at work, and the numbers of those that died for good."""

    n_alive: int
    lost: tuple[int, ...] = ()


class WorkerPool(Protocol):
    """Be a set of workers that pull trials until the budget is spent or they are told to stop."""

    def poll(self) -> PoolState:
        """Return the state of the workers; raise TagsweepError when one met an error."""

    def stop(self) -> None:
        """Tell all workers to give up their trials; returns at once."""

    def join(self, timeout_s: float) -> None:
        """Wait until all workers have left, then end those that have not after `timeout_s`."""


def launch_workers(spec: WorkerSpec, arrays: SearchArrays) -> WorkerPool:
    """Start the configured workers on the study, in the pool that the configuration names."""
    if spec.config.workers.pool == "inline":
        from workers.inline_pool import InlinePool

        return InlinePool(spec, arrays)
    from workers.ray_pool import RayPool

    return RayPool(spec, arrays)
