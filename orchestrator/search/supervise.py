"""Watch study and pool until the budget, the time or the user ends the search."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import eq

from optuna.study import Study

from orchestrator.events.follower import Follower
from orchestrator.runs.locks import LockedError
from orchestrator.terminal.progress import Update
from orchestrator.terminal.words import say_value
from shared.errors import TagsweepError
from shared.study.attributes import SEARCH_S, Failure, FailureKind, Limits, Owner
from shared.study.budget import is_out_of_time
from shared.study.liveness import owners_of_running, retry
from shared.study.patience import OutageError
from shared.study.study import StudyProgress, read_progress
from shared.study.tables.count import BestTrial, TrialTally
from shared.study.tables.read import id_of
from shared.study.tables.study_storage import StudyStorage
from workers import PoolState, WorkerPool, pool_worker_name

POLL_S = 0.5
"""How often study and pool are looked at."""
GRACE_S = 30.0
"""How long workers get to leave after they were told to stop."""
DRIVER_DIED = Failure(FailureKind.LOST, "lost: its driver died")
WORKER_DIED = Failure(FailureKind.LOST, "lost: its worker died")
STOPPED = Failure(FailureKind.HANDED_BACK, "interrupted: the search was stopped")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """Say how fast a search is: over the time that workers were at work, all starts together."""

    trials_per_min: float
    seconds_left: float | None


@dataclass(frozen=True)
class Driver:
    """The one that drives a study's search: its id, which no other has, and its hold on the lock.

    `hold` makes sure that it still is the only one, and raises TagsweepError where it is not.
    """

    id: str
    hold: Callable[[], None]


def supervise(
    study: Study,
    storage: StudyStorage,
    pool: WorkerPool,
    limits: Limits,
    max_retries: int,
    driver: Driver,
    update: Update,
    follower: Follower,
) -> None:
    """Watch until all workers have left or the time is up; then stop what still runs.

    The time of earlier starts counts. The follower is shown all that happens. On any exit, an
    interrupt too, the workers are told to stop, waited for, and the trials that they left are
    enqueued again; not when another driver has come, or when the database stayed away for so long
    that the search ended: the next start does it then.
    """
    study_id = id_of(study)
    tally, earlier_s = TrialTally(study_id), float(study.user_attrs[SEARCH_S])
    started, known_lost = time.monotonic(), set[int]()

    def hand_back_all() -> None:
        hand_back(storage, study_id, lambda owner: owner.driver == driver.id, STOPPED)
        follower.follow_trials()

    with _dismissing(pool, hand_back_all):
        while True:
            progress = read_progress(study, tally)
            state = pool.poll(max(0, limits.n_trials - progress.finished))
            driver.hold()
            searched_s = earlier_s + time.monotonic() - started
            for number in set(state.lost) - known_lost:
                gone = Owner(pool_worker_name(number), driver.id)
                hand_back(storage, study_id, partial(eq, gone), WORKER_DIED, max_retries)
            known_lost |= set(state.lost)
            study.set_user_attr(SEARCH_S, round(searched_s, 1))
            follower.look(state, progress, searched_s)
            _show(progress, state, limits, searched_s, update)
            if not state.n_alive and not state.n_waiting:
                return
            if is_out_of_time(searched_s, limits.timeout_s):
                logger.info("The search time of %g s is spent", limits.timeout_s)
                return
            time.sleep(POLL_S)


@contextmanager
def _dismissing(pool: WorkerPool, hand_back_all: Callable[[], None]) -> Iterator[None]:
    """Have the workers leave however the block ends, and what they left run again if that can be.

    What ended the block is what is raised, whatever comes after it.
    """
    try:
        yield
    except (OutageError, LockedError):
        _dismiss(pool)
        raise
    except BaseException:
        _dismiss(pool)
        try:
            hand_back_all()
        except TagsweepError as error:
            logger.warning("Trials are left to the next start to be run again: %s", error)
        raise
    _dismiss(pool)
    hand_back_all()


def _dismiss(pool: WorkerPool) -> None:
    pool.stop()
    try:
        pool.join(GRACE_S)
    except KeyboardInterrupt:  # a second one: whoever stops us does not want to wait
        pool.join(0)


def hand_back(
    storage: StudyStorage,
    study_id: int,
    is_gone: Callable[[Owner], bool],
    failure: Failure,
    max_retries: int | None = None,
) -> int:
    """Enqueue again what some owners left running that the caller knows to be gone.

    Returns how many trials.
    """
    running = owners_of_running(storage, study_id)
    left = [trial_id for trial_id, owner in running.items() if is_gone(owner)]
    return len(retry(storage, study_id, left, failure, max_retries))


def pace(
    progress: StudyProgress, n_trials: int, timeout_s: float | None, searched_s: float
) -> Pace:
    """Compute trials a minute and the seconds left, None while nothing has finished."""
    if not progress.finished or not searched_s:
        return Pace(0.0, None)
    per_s = progress.finished / searched_s
    left_s = max(0, n_trials - progress.finished) / per_s
    if timeout_s is not None:
        left_s = min(left_s, max(0.0, timeout_s - searched_s))
    return Pace(60 * per_s, left_s)


def describe(best: BestTrial | None) -> str:
    """Name the best trial and its values in a few words."""
    if best is None:
        return "no complete trial yet"
    return f"best {' / '.join(map(say_value, best.values))} (#{best.number})"


def waited_for(progress: StudyProgress, state: PoolState) -> str | None:
    """Say what a search waits for while no figure changes, None while trials end."""
    if state.n_waiting and not state.n_alive:
        return f"waiting for {state.n_waiting} workers, which import what training needs"
    if progress.finished or progress.failed or not state.n_alive:
        return None
    if progress.running:
        return f"waiting for the first trial to end, {progress.running} running"
    return "waiting for the first trial to begin"


def _show(
    progress: StudyProgress, state: PoolState, limits: Limits, searched_s: float, update: Update
) -> None:
    now = pace(progress, limits.n_trials, limits.timeout_s, searched_s)
    left = "" if now.seconds_left is None else f", {now.seconds_left:.0f} s left"
    figures = (
        f"{progress.pruned} pruned, {progress.failed} failed, {progress.running} running,"
        f" {describe(progress.best)}, {now.trials_per_min:.1f} trials/min{left}"
    )
    update(progress.finished, waited_for(progress, state) or figures)
