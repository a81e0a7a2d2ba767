"""Be a worker of tagsweep's, but for a trainer that only pretends."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.coordination.task import N_INPUTS, Measured, Task, now, value_of
from shared.metrics import AveragePrecision
from shared.store import Store
from shared.study import budget
from shared.study.attributes import Owner
from shared.study.study import load_study
from shared.study.tables.storage import opened_storage
from shared.study.tables.write import Report, write_reports
from shared.training.schedule import Ending
from shared.training.trainer import Epoch
from workers import SearchArrays, WorkerSpec, asking, reporting, slots
from workers.asking import Asked
from workers.slots import open_bench, run_trials
from workers.worker import SLOTS_PER_ASK_AHEAD

ARRAYS = SearchArrays(
    np.zeros((16, N_INPUTS), np.float32),
    np.tile(np.array([[0, 1], [1, 0]], np.float32), (8, 1)),
    ((np.arange(8), np.arange(8, 16)),),
)


class PretendedTrainer:
    """Do what a trainer does, in `step_s` seconds an epoch of all heads."""

    def __init__(self, task: Task) -> None:
        self.n_slots, self._n_steps, self._step_s = task.n_slots, task.n_steps, task.step_s
        self._steps: dict[int, int] = {}

    @property
    def n_heads(self) -> int:
        return len(self._steps)

    def add(self, key: int, *_: object) -> None:
        self._steps[key] = 0

    def remove(self, key: int) -> None:
        del self._steps[key]

    def clear(self) -> None:
        self._steps.clear()

    def advance(self) -> list[Epoch]:
        time.sleep(self._step_s)
        epochs = []
        for key, step in self._steps.items():
            ending = Ending.MAX_EPOCHS if step + 1 == self._n_steps else None
            epochs.append(Epoch(key, step, value_of(key, step), ending))
            self._steps[key] += 1
        return epochs

    def logits(self, _key: int, rows: Sequence[int]) -> npt.NDArray[np.float32]:
        return np.zeros((len(rows), 2), np.float32)


def work(task: Task, numbers: Sequence[int], wait: Callable[[], None]) -> Measured:
    """Be the workers of these numbers, each with its own connections, until the budget is spent."""
    measured = Measured()
    _measure(measured)
    wait()
    measured.started, cpu_s = now(), time.process_time()
    with ThreadPoolExecutor(len(numbers)) as pool:
        for ended in [pool.submit(_work, task, number) for number in numbers]:
            ended.result()
    measured.ended, measured.cpu_s = now(), time.process_time() - cpu_s
    return measured


def _work(task: Task, number: int) -> None:
    time.sleep(task.join_s * number / task.n_workers)
    names, store = ("a", "b"), Store("memory://")
    spec = WorkerSpec(task.url, task.study, "fingerprint", names, task.config, store, task.study)
    n_ahead = max(1, task.n_slots // SLOTS_PER_ASK_AHEAD)
    with opened_storage(task.url) as storage:
        study = load_study(storage, task.study, task.config)
        trainer: Any = PretendedTrainer(task)
        bench = open_bench(
            study, storage, spec, ARRAYS, trainer, Owner(f"worker-{number}"), n_ahead
        )
        run_trials(bench, lambda: False)


def _measure(measured: Measured) -> None:
    """Time each asking, from the first query to the trials' being at hand, and each reporting."""
    asked = threading.local()
    ask, suggest, write = budget.ask, asking.Asker._suggest, write_reports

    def timed_ask(*arguments: Any) -> Any:
        asked.at = now()
        return ask(*arguments)

    def timed_suggest(self: asking.Asker, begun: Any) -> list[Asked]:
        trials = suggest(self, begun)
        measured.asks.append(now() - asked.at)
        if not hasattr(asked, "was_first"):  # each worker asks in a thread of its own
            measured.first_asks.append(measured.asks[-1])
            measured.first_trials.append(now() - measured.started)
            asked.was_first = True
        return trials

    def timed_write(storage: Any, reports: Sequence[Report]) -> set[int]:
        started = now()
        running = write(storage, reports)
        measured.report_s += now() - started
        measured.n_values += sum(len(report.values) for report in reports)
        return running

    for where, name, instead in (
        (slots, "average_precision", lambda *_: AveragePrecision(0.5, 0.5, 0.5, {})),
        (asking, "ask", timed_ask),
        (asking.Asker, "_suggest", timed_suggest),
        (reporting, "write_reports", timed_write),
    ):
        setattr(where, name, instead)
