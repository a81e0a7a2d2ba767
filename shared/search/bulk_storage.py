"""Be Optuna's storage on PostgreSQL, and read whole studies in six plain queries.

Optuna makes an object of its mapper of every row before it makes trials of them: for 5,000 trials
of 50 steps that is nine seconds (`benchmarks/dashboard.py`). What is read here is the same.
"""

from collections.abc import Collection, Container
from datetime import UTC, datetime
from typing import Any

from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Row, select

from shared.search.bulk_read import (
    among,
    read_intermediate_values,
    read_params,
    read_trial_attrs,
    read_values,
)


class BulkStorage(RDBStorage):
    """Be an RDBStorage whose trials are read in bulk, by whoever reads them through it."""

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
