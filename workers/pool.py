"""What a pool of workers is to whoever drives it, on a cluster or in this process."""

from dataclasses import dataclass
from typing import Protocol

from workers.spec import SearchArrays, WorkerSpec


@dataclass(frozen=True)
class PoolState:
    """Say how many workers are at work, and how many wait for a place on the cluster.

    `lost` are the numbers of those that died for good.
    """

    n_alive: int
    n_waiting: int = 0
    lost: tuple[int, ...] = ()


class WorkerPool(Protocol):
    """Be a set of workers that pull trials until the budget is spent or they are told to stop."""

    def size(self) -> int:
        """Return how many workers were asked for, once that is known: a cluster is asked first."""

    def start(self, spec: WorkerSpec, arrays: SearchArrays) -> None:
        """Let all workers begin, each as soon as there is a place for it."""

    def poll(self, n_left: int) -> PoolState:
        """Return the state of the workers; raise TagsweepError when one met an error.

        Of those that still wait for a place, no more are kept than `n_left`, the trials that the
        budget leaves, can use.
        """

    def stop(self) -> None:
        """Tell all workers to give up their trials; returns at once."""

    def join(self, timeout_s: float) -> None:
        """Wait until all workers have left, then end those that have not after `timeout_s`."""
