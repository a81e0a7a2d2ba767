"""Keep when a sweep's workers were seen alive, so that nobody can call these dead."""

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil

from benchmarks.chaos.sweep import Sweep

INTERVAL_S = 0.4
MAX_GAP_S = 2.0
"""The longest time between two looks through which whoever was seen at both was alive."""


class Sightings:
    """When processes were alive and not stopped, in spells of being seen again and again."""

    def __init__(self) -> None:
        self._spells: dict[int, list[tuple[float, float]]] = defaultdict(list)
        self._alive: Collection[int] = ()
        self._looked_s = 0.0

    def see(self, alive: Collection[int], now_s: float) -> None:
        """Take in the numbers of all processes that are alive now."""
        is_gap = now_s - self._looked_s > MAX_GAP_S
        for pid in alive:
            spells = self._spells[pid]
            goes_on = not is_gap and pid in self._alive
            spells.append((spells.pop()[0] if goes_on else now_s, now_s))
        self._alive, self._looked_s = alive, now_s

    def was_alive(self, pid: int, begin_s: float, end_s: float) -> bool:
        """Say whether a process was alive all the time between two times."""
        return any(first <= begin_s and end_s <= last for first, last in self._spells[pid])


@contextmanager
def sightings_of(sweep: Sweep) -> Iterator[Sightings]:
    """Look at a sweep's workers while the block lasts; times are seconds since the epoch."""
    sightings, ended = Sightings(), threading.Event()

    def watch() -> None:
        while not ended.wait(INTERVAL_S):
            alive = [worker.pid for worker in sweep.workers() if not _is_stopped(worker)]
            sightings.see(alive, time.time())

    with ThreadPoolExecutor(1) as thread:
        watched = thread.submit(watch)
        try:
            yield sightings
        finally:
            ended.set()
        watched.result()


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
