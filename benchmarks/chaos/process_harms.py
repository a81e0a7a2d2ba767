"""Harm a sweep's workers, driver and Ray; each function says whether there was anything to harm."""

import random
import signal
import time
from contextlib import suppress

import psutil

from benchmarks.chaos.sweep import Sweep, beyond_the_grace

LEAVE_TIMEOUT_S = 90
STOPPED = 3
"""The exit code of a command that a signal has asked to leave."""


def kill_worker(sweep: Sweep, rng: random.Random) -> bool:
    """Kill a worker, whatever it does."""
    return _signal_one(sweep.workers(), signal.SIGKILL, rng)


def stop_worker(sweep: Sweep, rng: random.Random) -> bool:
    """Ask a worker to leave, as a machine does that is about to be taken."""
    return _signal_one(sweep.workers(), signal.SIGTERM, rng)


def suspend_worker(sweep: Sweep, rng: random.Random) -> bool:
    """Stop a worker that has a trial for longer than the grace, and let it go on."""
    workers = sweep.at_work()
    if not workers:
        return False
    worker = rng.choice(workers)
    with suppress(psutil.NoSuchProcess):
        worker.suspend()
        time.sleep(beyond_the_grace(rng))
        worker.resume()
        return True
    return False


def kill_driver(sweep: Sweep, _rng: random.Random) -> bool:
    """Kill the driver while workers have trials."""
    if not sweep.at_work():
        return False
    sweep.is_harmed = True
    sweep.driver.kill()
    return sweep.driver.wait() == -signal.SIGKILL


def hang_up(sweep: Sweep, _rng: random.Random) -> bool:
    """Let the driver's terminal go: it must hand back and leave in order."""
    if not sweep.at_work():
        return False
    sweep.is_harmed = True
    sweep.driver.send_signal(signal.SIGHUP)
    return sweep.driver.wait(LEAVE_TIMEOUT_S) == STOPPED


def kill_raylet(sweep: Sweep, _rng: random.Random) -> bool:
    """Kill the process by which Ray holds all others: the driver ends, in one way or another."""
    if not sweep.at_work() or not sweep.raylets():
        return False
    sweep.is_harmed = True
    sweep.raylets()[0].kill()
    return sweep.driver.wait(LEAVE_TIMEOUT_S) != 0


def _signal_one(processes: list[psutil.Process], number: int, rng: random.Random) -> bool:
    if not processes:
        return False
    rng.choice(processes).send_signal(number)
    return True
