"""Follow a search, and write what is new of its workers, trials and database to its events."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.study import Study
from optuna.trial import TrialState
from sqlalchemy import Connection, Row

from orchestrator.events.events import Events
from shared.study.attributes import (
    CHECKPOINTS,
    EPOCHS,
    FAILURE,
    FAILURE_KIND,
    RETRY_OF,
    SECONDS,
    WORKER,
    FailureKind,
    failure_of,
)
from shared.study.study import StudyProgress
from shared.study.tables.read import Changes, id_of, read_trial_attrs, read_values
from shared.study.tables.study_storage import StudyStorage
from workers import PoolState, pool_worker_name

TOLD = (EPOCHS, FAILURE, FAILURE_KIND, RETRY_OF, SECONDS, WORKER)
"""The user attributes of a trial that its events tell of."""
NEW_AT_ONCE = 1000
"""So many trials that are new are read and written at a time: a driver may find a great study."""

Attrs = Mapping[str, Any]
"""The user attributes of a trial."""
_FAILURES = {FailureKind.LOST: "trial_lost", FailureKind.HANDED_BACK: "trial_handed_back"}
"""What the failures are called after which a trial runs again."""


class Follower:
    """Know what has been written of a search, so that each look costs only what is new."""

    def __init__(self, events: Events, study: Study, storage: StudyStorage) -> None:
        """Know of nothing yet."""
        self._events, self._storage = events, storage
        self._changes = Changes(id_of(study))
        self._newest = -1
        self._n_workers = 0
        self._lost: frozenset[int] = frozenset()

    def look(self, state: PoolState, progress: StudyProgress, searched_s: float) -> None:
        """Write what is new, and show how the search stands. May be repeated."""
        self._follow_workers(state)
        self.follow_trials()
        self._events.exposition.show(state.n_alive, progress, searched_s)

    def follow_trials(self) -> None:
        """Write which trials have ended, and which were enqueued again.

        That is one query while nothing has. Trials that ended while no driver was there are written
        by the next one, some at a time, unless the file shows that another was there after all.
        """
        while self._follow_some() == NEW_AT_ONCE:
            pass

    def _follow_some(self) -> int:
        """Write what is new of those trials that are known, and of the next; return how many."""
        rows, found = self._storage.transact(self._read)
        n_new = len([row for row in rows if row.trial_id > self._newest])
        self._changes.accept(rows)
        self._newest = max([self._newest, *(row.trial_id for row in rows)])
        self._events.write_trials(found)
        return n_new

    def _read(
        self, connection: Connection
    ) -> tuple[Sequence[Row[Any, Any, Any]], list[tuple[str, dict[str, Any]]]]:
        """Return the changes, and the events that tell of them, by name and fields."""
        rows = self._changes.read(connection, NEW_AT_ONCE)
        ended = [row for row in rows if row.state.is_finished()]
        new = [row for row in rows if row.trial_id > self._newest]
        attrs = read_trial_attrs(connection, {row.trial_id for row in (*ended, *new)}, TOLD)
        retried = {row.trial_id: row.number for row in new if RETRY_OF in attrs[row.trial_id]}
        own = read_trial_attrs(connection, retried, (CHECKPOINTS,), of_system=True)
        before = {trial_id: own[trial_id][CHECKPOINTS][0] for trial_id in retried}
        reasons = read_trial_attrs(connection, set(before.values()), (FAILURE,))
        values = read_values(connection, [row.trial_id for row in ended])
        found = [
            _ending(row.number, row.state, values.get(row.trial_id, []), attrs[row.trial_id])
            for row in ended
        ]
        for trial_id, number in retried.items():
            reason = reasons[before[trial_id]].get(FAILURE)
            fields = {"retry_of": attrs[trial_id][RETRY_OF], "reason": reason}
            found.append(("trial_retried", {"number": number, **fields}))
        return rows, found

    def on_outage(self, reason: str | None) -> None:
        """Write that the database is away, and why, or that it is back."""
        if reason is None:
            self._events.write("database_back")
        else:
            self._events.write("database_away", reason=reason)

    def _follow_workers(self, state: PoolState) -> None:
        n_more = state.n_alive - self._n_workers
        if n_more > 0:
            self._events.write("workers_joined", joined=n_more, workers=state.n_alive)
        if n_more < 0:
            self._events.write("workers_left", left=-n_more, workers=state.n_alive)
        for number in sorted(set(state.lost) - self._lost):
            self._events.write("worker_lost", worker=pool_worker_name(number))
        self._n_workers, self._lost = state.n_alive, frozenset(state.lost)


def _ending(
    number: int, state: TrialState, values: list[float], attrs: Attrs
) -> tuple[str, dict[str, Any]]:
    """Say how a trial ended: by its state, and by the reason of a failure.

    The value is that of the first objective; where there are several, all are said too.
    """
    failure = failure_of(attrs)
    name = "trial_finished" if state is not TrialState.FAIL else "trial_failed"
    return _FAILURES.get(failure.kind, name) if failure else name, {
        "number": number,
        "state": state.name,
        "value": values[0] if values else None,
        "epochs": attrs.get(EPOCHS),
        "seconds": attrs.get(SECONDS),
        "worker": attrs.get(WORKER),
        "reason": attrs.get(FAILURE),
        **({"values": values} if len(values) > 1 else {}),
    }
