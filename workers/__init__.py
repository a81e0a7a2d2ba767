"""Run trials: what the orchestrator may use of the workers is what this module offers."""

from workers.launch import PoolState, WorkerPool, launch_workers
from workers.spec import SearchArrays, WorkerSpec

__all__ = ["PoolState", "SearchArrays", "WorkerPool", "WorkerSpec", "launch_workers"]
