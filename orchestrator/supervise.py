"""Watch study and pool until the budget, the time or the user ends the search."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from orchestrator.follower import Follower
from orchestrator.progress import Update
from orchestrator.values import say_value
from shared.errors import TagsweepError
from shared.search.budget import count_left, is_out_of_time
from shared.search.bulk_read import id_of
from shared.search.liveness import HANDED_BACK, LOST, retry, workers_of_running
from shared.search.patience import patiently
from shared.search.study import SEARCH_S, StudyProgress, read_progress
from shared.sections import StudyConfig
from workers import POOL_WORKER, PoolState, WorkerPool, pool_worker_name

POLL_S = 0.5
"""How often study and pool are looked at."""
GRACE_S = 30.0
"""How long workers get to leave after they were told to stop."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """Say how fast a search is: over the time that workers were at work, all starts together."""

    trials_per_min: float
    seconds_left: float | None


def supervise(
    study: Study,
    storage: RDBStorage,
    pool: WorkerPool,
    limits: StudyConfig,
    max_retries: int,
    hold: Callable[[], None],
    update: Update,
    follower: Follower,
) -> None:
    """Watch until all workers have left or the time is up; then stop what still runs.

    `hold` makes sure that this is still the study's only driver. The time of earlier starts counts.
    The follower is shown all that happens. On any exit, an interrupt too, the workers are told to
    stop, waited for, and the trials that they left are enqueued again; not when another driver has
    come, whose workers have the same names.
    """
    earlier_s = float(study.user_attrs[SEARCH_S])
    started = time.monotonic()
    insist, is_the_driver = partial(patiently, on_outage=follower.on_outage), True
    try:
        while True:
            state = pool.poll(insist(lambda: count_left(storage, id_of(study), limits)))
            try:
                insist(hold)
            except TagsweepError:
                is_the_driver = False
                raise
            searched_s = earlier_s + time.monotonic() - started
            progress = insist(partial(_record, study, storage, state, searched_s, max_retries))
            insist(partial(follower.look, state, progress, searched_s))
            _show(progress, limits, searched_s, update)
            if not state.n_alive and not state.n_waiting:
                return
            if is_out_of_time(searched_s, limits):
                logger.info("The search time of %g s is spent", limits.timeout_s)
                return
            time.sleep(POLL_S)
    finally:
        try:
            pool.stop()
            pool.join(GRACE_S)
        finally:  # also where the user does not want to wait for the workers
            if is_the_driver:
                insist(lambda: hand_back(study, storage, f"{HANDED_BACK}: the search was stopped"))
            insist(follower.follow_trials)


def _record(
    study: Study, storage: RDBStorage, state: PoolState, searched_s: float, max_retries: int
) -> StudyProgress:
    """Write down how the search stands, have lost trials run again, and return the trials' state.

    May be repeated.
    """
    for number in state.lost:
        hand_back(study, storage, f"{LOST}: its worker died", number, max_retries)
    study.set_user_attr(SEARCH_S, round(searched_s, 1))
    return read_progress(study)


def hand_back(
    study: Study,
    storage: RDBStorage,
    reason: str,
    number: int | None = None,
    max_retries: int | None = None,
) -> int:
    """Enqueue again what this driver's workers, or one of them, left running; return how many.

    The caller must know that they are gone. Workers without a driver are left alone.
    """
    gone = None if number is None else pool_worker_name(number)
    left = [
        trial_id
        for trial_id, worker in workers_of_running(storage, id_of(study)).items()
        if worker == gone or (gone is None and worker.startswith(POOL_WORKER))
    ]
    return len(retry(study, storage, left, reason, max_retries))


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


def describe(best: FrozenTrial | None) -> str:
    """Name the best trial and its values in a few words."""
    if best is None:
        return "no complete trial yet"
    return f"best {' / '.join(map(say_value, best.values))} (#{best.number})"


def _show(progress: StudyProgress, limits: StudyConfig, searched_s: float, update: Update) -> None:
    now = pace(progress, limits.n_trials, limits.timeout_s, searched_s)
    left = "" if now.seconds_left is None else f", {now.seconds_left:.0f} s left"
    update(
        progress.finished,
        f"{progress.pruned} pruned, {progress.failed} failed, {progress.running} running,"
        f" {describe(progress.best)}, {now.trials_per_min:.1f} trials/min{left}",
    )
