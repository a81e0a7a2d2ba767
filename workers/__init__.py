"""Run trials: what the orchestrator may use of the workers is what this module offers."""

from workers.launch import PoolState, WorkerPool, attach_worker, launch_workers
from workers.spec import POOL_WORKER, SearchArrays, WorkerSpec, pool_worker_name
from workers.store import write_arrays

__all__ = [
    "POOL_WORKER",
    "PoolState",
    "SearchArrays",
    "WorkerPool",
    "WorkerSpec",
    "attach_worker",
    "launch_workers",
    "pool_worker_name",
    "write_arrays",
]
