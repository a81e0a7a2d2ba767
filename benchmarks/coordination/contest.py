"""Run a contender's workers, each a process of its own, from one start to the last one's end."""

import multiprocessing
import queue
import socket
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from typing import Any

import optuna
from optuna.storages import get_storage, run_grpc_proxy_server

from benchmarks.coordination import optuna_worker, tagsweep_worker
from benchmarks.coordination.task import Measured, Task

CONTENDERS = ("optuna", "optuna_grpc", "tagsweep")
PATIENCE_S = 600
MAX_PROCESSES = 16
"""More workers of tagsweep's than this share processes, to save memory, but nothing else."""


def run_contest(contender: str, task: Task) -> list[Measured]:
    """Return what each process measured."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    port = _free_port()
    server = context.Process(target=_serve, args=(task.url, port), daemon=True)
    if contender == "optuna_grpc":
        server.start()
    try:
        return _run_workers(context, contender, task, port)
    finally:
        if contender == "optuna_grpc":
            server.terminate()
            server.join()


def _run_workers(
    context: ForkServerContext, contender: str, task: Task, port: int
) -> list[Measured]:
    n_processes = min(task.n_workers, MAX_PROCESSES)
    barrier, answers = context.Barrier(n_processes), context.Queue()
    shares = [range(first, task.n_workers, n_processes) for first in range(n_processes)]
    processes = [
        context.Process(target=_work, args=(contender, task, share, port, barrier, answers))
        for share in shares
    ]
    for process in processes:
        process.start()
    measured: list[Measured] = []
    while len(measured) < len(processes):
        try:
            measured.append(answers.get(timeout=1))
        except queue.Empty:
            if any(process.exitcode for process in processes):
                for process in processes:
                    process.terminate()
                raise RuntimeError(f"A worker of {contender} failed; see above.") from None
    for process in processes:
        process.join()
    return measured


def _work(contender: str, task: Task, share: range, port: int, barrier: Any, answers: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def wait() -> None:
        barrier.wait(PATIENCE_S)

    if contender == "tagsweep":
        answers.put(tagsweep_worker.work(task, share, wait))
    else:
        opens: dict[str, Callable[[], Any]] = {
            "optuna": lambda: optuna_worker.open_directly(task),
            "optuna_grpc": lambda: optuna_worker.open_through_grpc(task, port),
        }
        (number,) = share
        answers.put(optuna_worker.work(task, opens[contender](), number, wait))


def _serve(url: str, port: int) -> None:
    run_grpc_proxy_server(get_storage(url), host="127.0.0.1", port=port)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
