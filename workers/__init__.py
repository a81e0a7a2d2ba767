"""Run trials: what the orchestrator may use of the workers is what this module offers."""

# Before anything imports TensorFlow, whose OpenSSL symbols would take the place of psycopg2's: a
# connection by TLS would end the process with a segmentation fault.
import psycopg2  # noqa: F401

from workers.arrays import read_arrays, write_arrays
from workers.launch import attach_worker, launch_encoders, launch_workers
from workers.pool import PoolState, WorkerPool
from workers.spec import SearchArrays, WorkerSpec, pool_worker_name

__all__ = [
    "PoolState",
    "SearchArrays",
    "WorkerPool",
    "WorkerSpec",
    "attach_worker",
    "launch_encoders",
    "launch_workers",
    "pool_worker_name",
    "read_arrays",
    "write_arrays",
]
