"""Measure what a command takes of this machine, all of its processes together."""

import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

SAMPLE_EVERY_S = 1.0
MIB = 1 << 20


@dataclass(frozen=True)
class Usage:
    """Hold what a command printed and took; memory counts a page shared by processes once."""

    output: str
    wall_s: float
    cpu_s: float
    peak_mib: float


def run_measured(command: Sequence[object]) -> Usage:
    """Run a command to its end; raise CalledProcessError when it fails.

    Ray's and PostgreSQL's processes leave the command's process tree, so processor time is that of
    the whole machine, which must do nothing else, and memory that of all processes begun since.
    """
    started, before, peak = time.time(), _busy_s(), 0.0
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    ended = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not ended.wait(SAMPLE_EVERY_S):
            peak = max(peak, sum(_proportional_bytes(p, started) for p in psutil.process_iter()))

    sampler = threading.Thread(target=sample)
    sampler.start()
    output, _ = process.communicate()
    ended.set()
    sampler.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, output)
    return Usage(output, time.time() - started, _busy_s() - before, peak / MIB)


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _proportional_bytes(process: psutil.Process, since: float) -> int:
    try:
        if process.create_time() < since - 1:
            return 0
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has just ended
        return 0
