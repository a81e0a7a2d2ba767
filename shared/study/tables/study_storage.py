"""Optuna's storage on PostgreSQL, which outlasts outages and reads whole studies at once.

Optuna makes an object of its mapper of every row before it makes trials of them: for 5,000 trials
of 50 steps that is nine seconds (`benchmarks/dashboard.py`). What is read here is the same.
"""

import threading
from collections.abc import Callable, Collection, Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar

from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb.models import TrialModel
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Row, func, select
from sqlalchemy.orm import scoped_session, sessionmaker

from shared.study.patience import Patience, patiently
from shared.study.tables.read import (
    among,
    read_intermediate_values,
    read_params,
    read_trial_attrs,
    read_values,
)

MAX_IDLE_S = 60.0
"""How long a transaction that holds locks may do nothing: the server ends that of a client that is
cut off, which would keep its locks."""
MAX_LOCK_S = 10.0
"""How long a statement waits for what another has locked, before it is an outage like any other:
told, and tried again. Well below the grace of heartbeats, which wait for a connection meanwhile."""

Result = TypeVar("Result")


class StudyStorage(RDBStorage):
    """An RDBStorage whose every call outlasts outages, and whose trials are read in bulk.

    All that tagsweep does to the tables itself goes through `transact`.
    """

    patience = Patience()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection in a transaction of bounded waits, once: an outage is raised."""
        with self.engine.begin() as connection:
            connection.execute(_bounds())
            yield connection

    def transact(
        self,
        work: Callable[[Connection], Result],
        closing: threading.Event | None = None,
        turn: AbstractContextManager[object] | None = None,
    ) -> Result:
        """Return what `work` returns, done in one transaction, tried again through any outage.

        Each try waits for its turn before it takes a connection. The answer to a COMMIT may be
        lost: `work` must bear that it was done before. Raises OutageError when the storage's
        patience is over, or `closing` is set.
        """

        def attempt() -> Result:
            with turn or nullcontext(), self.transaction() as connection:
                return work(connection)

        return patiently(attempt, closing, self.patience)

    def within(self, connection: Connection) -> RDBStorage:
        """Return the storage as seen from inside a transaction, of which all it does is a part.

        It has no patience of its own: a transaction is tried again as a whole.
        """
        inner: RDBStorage = object.__new__(RDBStorage)
        session = sessionmaker(connection, join_transaction_mode="create_savepoint")
        inner.__dict__ = self.__dict__ | {"scoped_session": scoped_session(session)}
        return inner

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Return a study's trials in the order of their ids, as RDBStorage's own method does."""
        self.get_study_name_from_id(study_id)  # raises KeyError when there is no such study
        chosen = select(TrialModel).where(
            TrialModel.study_id == study_id,
            (TrialModel.trial_id > trial_id_greater_than)
            | among(TrialModel.trial_id, included_trial_ids),
        )
        with self.engine.begin() as connection:
            # States come first: what belongs to a trial that was seen to be finished is there.
            rows = connection.execute(chosen.order_by(TrialModel.trial_id)).all()
            return _make_trials(
                connection, [row for row in rows if states is None or row.state in states]
            )


def storage_of(study: Study) -> StudyStorage:
    """Return the storage that a study was opened with, which Optuna has no public name for."""
    cache: Any = study._storage  # noqa: SLF001
    storage: StudyStorage = cache._backend  # noqa: SLF001
    return storage


def _outlasting(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: StudyStorage, *args: Any, **kwargs: Any) -> Any:
        return patiently(lambda: method(self, *args, **kwargs), patience=self.patience)

    return call


# All that Optuna's own classes ask of a storage, so that no caller is impatient by oversight.
# Its cache calls the last two past the others.
for _name in (*BaseStorage.__abstractmethods__, "_create_new_trial", "_get_trials"):
    setattr(StudyStorage, _name, _outlasting(getattr(StudyStorage, _name)))


def _bounds() -> Any:
    """Set what bounds a transaction's waits, in milliseconds, for as long as it lasts.

    A pooler hands sessions on, and may refuse settings in the URL.
    """
    bounds = {"lock_timeout": MAX_LOCK_S, "idle_in_transaction_session_timeout": MAX_IDLE_S}
    return select(
        *(func.set_config(name, str(round(1000 * s)), True) for name, s in bounds.items())
    )


def _make_trials(connection: Connection, rows: Collection[Row[Any]]) -> list[FrozenTrial]:
    ids = [row.trial_id for row in rows]
    values, params = read_values(connection, ids), read_params(connection, ids)
    user_attrs = read_trial_attrs(connection, ids)
    system_attrs = read_trial_attrs(connection, ids, of_system=True)
    intermediate_values = read_intermediate_values(connection, ids)
    return [
        FrozenTrial(
            number=row.number,
            state=row.state,
            value=None,
            values=values.get(row.trial_id),
            datetime_start=_local(row.datetime_start),
            datetime_complete=_local(row.datetime_complete),
            params={
                name: distribution.to_external_repr(value)
                for name, (value, distribution) in params.get(row.trial_id, {}).items()
            },
            distributions={
                name: distribution
                for name, (_, distribution) in params.get(row.trial_id, {}).items()
            },
            user_attrs=user_attrs[row.trial_id],
            system_attrs=system_attrs[row.trial_id],
            intermediate_values=intermediate_values[row.trial_id],
            trial_id=row.trial_id,
        )
        for row in rows
    ]


def _local(time: datetime | None) -> datetime | None:
    """Return a time of the tables, which is in UTC, as Optuna's API gives it: in local time."""
    if time is None:
        return None
    return time.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
