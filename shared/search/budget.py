"""Hand out trials so that a study never gets more than its budget."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import text

from shared.config import StudyConfig
from shared.errors import TagsweepError
from shared.search.liveness import alone, beat
from shared.search.study import FAILURE

DRIVING = 0x7461_6774
"""The class of the advisory lock that the one driver of a study holds."""
DIVERGED = "diverged"
"""How the failure of a trial begins whose loss was not finite."""
OUT_OF_MEMORY = "out of memory"
"""How the failure of a trial begins whose head alone does not fit into the device's memory."""


def ask(study: Study, storage: RDBStorage, limits: StudyConfig) -> Trial | None:
    """Create a trial, or return None when those finished and running fill the budget.

    Trials that are enqueued come first. Counting and creating happen under one lock in the
    database, so the budget holds for any number of workers. None is not the end: a running trial
    may still fail and make room. The trial has its first heartbeat when it is returned.
    """
    with alone(storage, study.study_name):
        trials = study.get_trials(deepcopy=False)
        counted = sum(trial.state in _COUNTED for trial in trials)
        if counted >= limits.n_trials or _is_good_enough(trials, limits):
            return None
        _require_hope(trials, limits)
        trial = study.ask()
        beat(storage, [trial._trial_id])  # noqa: SLF001  has no public name
        return trial


def is_spent(study: Study, limits: StudyConfig) -> bool:
    """Say whether the study has its full number of finished trials, or a good enough one."""
    trials = study.get_trials(deepcopy=False)
    finished = sum(trial.state in _FINISHED for trial in trials)
    return finished >= limits.n_trials or _is_good_enough(trials, limits)


def is_out_of_time(searched_s: float, limits: StudyConfig) -> bool:
    """Say whether the time for the search is spent, if it is limited."""
    return limits.timeout_s is not None and searched_s >= limits.timeout_s


_HELD = (
    "locktype = 'advisory' AND granted AND classid = :kind AND objid = :study"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@contextmanager
def driving(storage: RDBStorage, study_name: str) -> Iterator[Callable[[], None]]:
    """Be the one driver of a study for as long as the block lasts.

    The lock lives in the database's session, so it goes with the process that holds it, but also
    with a database that restarts. Yields a function that takes it again then; to be called now and
    then. Both raise TagsweepError when another driver has it.
    """
    key = {"kind": DRIVING, "study": storage.get_study_id_from_name(study_name)}
    is_held = f"EXISTS (SELECT FROM pg_locks WHERE {_HELD} AND pid = pg_backend_pid())"
    take = text(f"SELECT {is_held} OR pg_try_advisory_lock(:kind, :study)")
    with storage.engine.connect() as connection:

        def hold() -> None:
            with connection.begin():
                is_ours = connection.execute(take, key).scalar_one()
            if not is_ours:
                raise TagsweepError(
                    f"Study {study_name!r} is being searched by another tagsweep."
                    " Watch it with `tagsweep status`, help it with `tagsweep worker`,"
                    " or stop it first."
                )

        hold()
        try:
            yield hold
        finally:
            # The lock goes with its session, which the database may have ended long before.
            connection.invalidate()


def is_driven(storage: RDBStorage, study_name: str) -> bool:
    """Say whether a driver is at work on the study, in any process on any machine."""
    key = {"kind": DRIVING, "study": storage.get_study_id_from_name(study_name)}
    query = text(f"SELECT count(*) FROM pg_locks WHERE {_HELD}")  # noqa: S608  a constant
    with storage.engine.connect() as connection:
        return bool(connection.execute(query, key).scalar_one())


_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_COUNTED = (*_FINISHED, TrialState.RUNNING)


def _require_hope(trials: list[FrozenTrial], limits: StudyConfig) -> None:
    """Raise TagsweepError when as many trials as the budget has failed by their parameters."""
    for reason, cure in ((DIVERGED, "the learning rate"), (OUT_OF_MEMORY, "space.max_units")):
        n_failed = sum(str(trial.user_attrs.get(FAILURE)).startswith(reason) for trial in trials)
        if n_failed >= limits.n_trials:
            raise TagsweepError(
                f"{n_failed} trials failed, as many as the budget has: {reason}."
                f" Narrow the search space, {cure} first, and start a new study."
            )


def _is_good_enough(trials: list[FrozenTrial], limits: StudyConfig) -> bool:
    target = limits.target_value
    complete = (t.value for t in trials if t.state == TrialState.COMPLETE)
    return target is not None and any(value is not None and value <= target for value in complete)
