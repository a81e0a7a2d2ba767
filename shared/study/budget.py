"""Hand out trials so that a study never gets more than its budget."""

import threading
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection

from shared.errors import TagsweepError
from shared.study.attributes import FAILURE_KIND, LIMITS, FailureKind, Limits
from shared.study.liveness import alone
from shared.study.tables.count import TrialTally, count_failed, read_directions
from shared.study.tables.study import read_user_attr
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.trials import Begun, begin_trials, enqueue_fixed, find_begun

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_COUNTED = (*_FINISHED, TrialState.RUNNING)
_CURES = {
    FailureKind.DIVERGED: "the learning rate",
    FailureKind.OUT_OF_MEMORY: "space.max_units",
}
"""What to narrow where trials fail by their parameters."""


def ask(
    storage: StudyStorage,
    study_id: int,
    n: int = 1,
    attrs: Mapping[str, Any] = MappingProxyType({}),
    tally: TrialTally | None = None,
    closing: threading.Event | None = None,
) -> list[Begun]:
    """Have up to `n` trials run, fewer when those finished and running leave less of the budget.

    Trials that are enqueued come first. The budget is read, and trials are counted and created,
    under one lock in the database, so it holds for any number of workers. None at all is not the
    end: a running trial may still fail and make room. Each has its first heartbeat and the user
    attributes. `tally` is what the caller knows of the study from one call to the next. Outages
    are outlasted as by `StudyStorage.transact`.
    """
    tally, request, n_tries = tally or TrialTally(study_id), uuid4().hex, 0

    def work(connection: Connection) -> list[Begun]:
        nonlocal n_tries
        n_tries += 1
        if n_tries > 1 and (begun := find_begun(connection, study_id, request)):
            return begun  # it is the answer to the COMMIT before that was lost
        limits, counts = read_limits(connection, study_id), tally.count(connection)
        room = _room(limits, counts)
        if room <= 0 or _is_good_enough(connection, study_id, limits, tally):
            return []
        if counts[TrialState.FAIL] >= limits.n_trials:
            _require_hope(connection, study_id, limits)
        return begin_trials(connection, study_id, min(n, room), counts, attrs, request)

    return alone(storage, study_id, work, closing)


def enqueue_first(storage: StudyStorage, study_id: int, params: Mapping[str, Any]) -> None:
    """Have a study without trials begin with these parameters; may be repeated.

    Not with Optuna's own call: where others have filled the budget meanwhile, or the answer to its
    COMMIT is lost, it makes a trial too many.
    """

    def work(connection: Connection) -> None:
        if not TrialTally(study_id).count(connection):
            enqueue_fixed(connection, study_id, 0, params)

    alone(storage, study_id, work)


def read_limits(connection: Connection, study_id: int) -> Limits:
    """Return when the study's search ends."""
    return Limits(**read_user_attr(connection, study_id, LIMITS))


def has_room(
    storage: StudyStorage,
    study_id: int,
    tally: TrialTally,
    closing: threading.Event | None = None,
) -> bool:
    """Say whether it is worth to ask: who waits for room keeps nobody else from asking."""

    def work(connection: Connection) -> bool:
        return _room(read_limits(connection, study_id), tally.count(connection)) > 0

    return storage.transact(work, closing)


def is_spent(
    storage: StudyStorage,
    study_id: int,
    tally: TrialTally | None = None,
    closing: threading.Event | None = None,
    limits: Limits | None = None,
) -> bool:
    """Say whether the study has its full number of finished trials, or a good enough one.

    By its own limits, or by those that are asked for.
    """
    known = tally or TrialTally(study_id)

    def work(connection: Connection) -> bool:
        ends, counts = limits or read_limits(connection, study_id), known.count(connection)
        n_finished = sum(counts[state] for state in _FINISHED)
        return n_finished >= ends.n_trials or _is_good_enough(connection, study_id, ends, known)

    return storage.transact(work, closing)


def is_out_of_time(searched_s: float, timeout_s: float | None) -> bool:
    """Say whether the time for the search is spent, if it is limited."""
    return timeout_s is not None and searched_s >= timeout_s


def _room(limits: Limits, counts: Counter[TrialState]) -> int:
    return limits.n_trials - sum(counts[state] for state in _COUNTED)


def _require_hope(connection: Connection, study_id: int, limits: Limits) -> None:
    """Raise TagsweepError when as many trials as the budget has failed by their parameters."""
    for kind, cure in _CURES.items():
        n_failed = count_failed(connection, study_id, FAILURE_KIND, kind)
        if n_failed >= limits.n_trials:
            raise TagsweepError(
                f"{n_failed} trials failed, as many as the budget has: {kind}."
                f" Narrow the search space, {cure} first, and start a new study."
            )


def _is_good_enough(
    connection: Connection, study_id: int, limits: Limits, tally: TrialTally
) -> bool:
    if limits.target_value is None or (best := tally.best(connection)) is None:
        return False
    is_minimised = read_directions(connection, study_id)[0] is StudyDirection.MINIMIZE
    return best.value <= limits.target_value if is_minimised else best.value >= limits.target_value
