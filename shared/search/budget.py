"""Hand out trials so that a study never gets more than its budget."""

from collections.abc import Iterator
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
        diverged = sum(str(t.user_attrs.get(FAILURE)).startswith(DIVERGED) for t in trials)
        if diverged >= limits.n_trials:
            raise TagsweepError(
                f"{diverged} trials diverged, as many as the budget has. Narrow the search space,"
                " the learning rate first, and start a new study."
            )
        trial = study.ask()
        beat(storage, [trial._trial_id])  # noqa: SLF001  has no public name
        return trial


def is_spent(study: Study, limits: StudyConfig) -> bool:
    """Say whether the study has its full number of finished trials, or a good enough one."""
    trials = study.get_trials(deepcopy=False)
    finished = sum(trial.state in _FINISHED for trial in trials)
    return finished >= limits.n_trials or _is_good_enough(trials, limits)


@contextmanager
def driving(storage: RDBStorage, study_name: str) -> Iterator[None]:
    """Be the one driver of a study for as long as the block lasts.

    The lock lives in the database's session, so it goes with the process that holds it. Raises
    TagsweepError when another driver has it.
    """
    key = {"kind": DRIVING, "study": storage.get_study_id_from_name(study_name)}
    with storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        taken = connection.execute(text("SELECT pg_try_advisory_lock(:kind, :study)"), key)
        if not taken.scalar_one():
            raise TagsweepError(
                f"Study {study_name!r} is being searched by another tagsweep."
                " Watch it with `tagsweep status`, or stop it first."
            )
        try:
            yield
        finally:
            # The lock goes with its session, which the database may have ended long before.
            connection.invalidate()


def is_driven(storage: RDBStorage, study_name: str) -> bool:
    """Say whether a driver is at work on the study, in any process on any machine."""
    key = {"kind": DRIVING, "study": storage.get_study_id_from_name(study_name)}
    query = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        " AND classid = :kind AND objid = :study"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with storage.engine.connect() as connection:
        return bool(connection.execute(query, key).scalar_one())


_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_COUNTED = (*_FINISHED, TrialState.RUNNING)


def _is_good_enough(trials: list[FrozenTrial], limits: StudyConfig) -> bool:
    target = limits.target_value
    complete = (t.value for t in trials if t.state == TrialState.COMPLETE)
    return target is not None and any(value is not None and value <= target for value in complete)
