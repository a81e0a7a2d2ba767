"""Be a worker as Optuna's documentation has it: ask, suggest, report, should_prune, tell."""

import time
from collections.abc import Callable

import optuna
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, GrpcStorageProxy, get_storage
from optuna.trial import Trial, TrialState

from benchmarks.coordination.task import WIDTHS, Measured, Task, now, value_of
from shared.study.pruning import build_pruner
from shared.study.space import suggest


def open_directly(task: Task) -> BaseStorage:
    return get_storage(task.url)


def open_through_grpc(task: Task, port: int) -> BaseStorage:
    del task
    storage = GrpcStorageProxy(host="127.0.0.1", port=port)
    storage.wait_server_ready(timeout=60)
    return storage


def work(task: Task, storage: BaseStorage, number: int, wait: Callable[[], None]) -> Measured:
    """Run this worker's share of the trials, `n_slots` at a time in lock-step."""
    study = optuna.load_study(
        study_name=task.study,
        storage=storage,
        sampler=TPESampler(seed=number, constant_liar=True),
        pruner=build_pruner(task.config.study.pruner),
    )
    measured = Measured()
    wait()
    measured.started, cpu_s = now(), time.process_time()
    left = task.n_trials // task.n_workers
    live: list[tuple[Trial, int]] = []
    while left or live:
        while left and len(live) < task.n_slots:
            live.append((_ask(study, task, measured), 0))
            left -= 1
        time.sleep(task.step_s)
        live = [
            (trial, step + 1)
            for trial, step in live
            if not _advance(study, task, trial, step, measured)
        ]
    measured.ended, measured.cpu_s = now(), time.process_time() - cpu_s
    return measured


def _ask(study: optuna.Study, task: Task, measured: Measured) -> Trial:
    asked = now()
    trial = study.ask()
    suggest(trial, task.config.space, WIDTHS)
    measured.asks.append(now() - asked)
    return trial


def _advance(study: optuna.Study, task: Task, trial: Trial, step: int, measured: Measured) -> bool:
    """Report a step, and return whether it ended the trial."""
    reported = now()
    trial.report(value_of(trial.number, step), step)
    measured.report_s += now() - reported
    measured.n_values += 1
    should_prune = trial.should_prune()
    if step + 1 < task.n_steps:
        return False
    if should_prune:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, value_of(trial.number, step))
    return True
