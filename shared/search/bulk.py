"""Write to and read from Optuna's own tables, many rows a round trip.

Optuna's API makes one to seven round trips for each value. What is written here is what it would
have written: the same tables, columns and stored forms, so that every Optuna tool reads it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.storages import RDBStorage
from optuna.storages._rdb.models import (
    TrialIntermediateValueModel,
    TrialModel,
    TrialUserAttributeModel,
)
from optuna.trial import TrialState
from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

_to_stored = TrialIntermediateValueModel.intermediate_value_to_stored_repr
_from_stored = TrialIntermediateValueModel.stored_repr_to_intermediate_value


@dataclass(frozen=True)
class Report:
    """Hold what is new about a running trial: an intermediate value, user attributes, or both."""

    trial_id: int
    values: Mapping[int, float]
    attrs: Mapping[str, Any]


def write_reports(storage: RDBStorage, reports: Sequence[Report]) -> None:
    """Write values, by step, and attributes of trials; those that no longer run are left alone.

    A step that was reported before keeps its first value, as with `Trial.report`.
    """
    with storage.engine.begin() as connection:
        running = _lock_running(connection, {report.trial_id for report in reports})
        reports = [report for report in reports if report.trial_id in running]
        values = [
            _value_row(report.trial_id, step, value)
            for report in reports
            for step, value in report.values.items()
        ]
        attrs = {
            (report.trial_id, key): json.dumps(value)
            for report in reports
            for key, value in report.attrs.items()
        }
        if values:
            statement = insert(TrialIntermediateValueModel).on_conflict_do_nothing(
                index_elements=["trial_id", "step"]
            )
            connection.execute(statement, values)
        if attrs:
            upsert = insert(TrialUserAttributeModel)
            upsert = upsert.on_conflict_do_update(
                index_elements=["trial_id", "key"],
                set_={"value_json": upsert.excluded.value_json},
            )
            rows = [
                {"trial_id": trial_id, "key": key, "value_json": value}
                for (trial_id, key), value in attrs.items()
            ]
            connection.execute(upsert, rows)


class CompleteTrials:
    """Read the intermediate values of a study's complete trials, each trial once.

    A finished trial never changes, so only those are looked at that are new or were not finished.
    """

    def __init__(self, storage: RDBStorage, study_name: str) -> None:
        """Know of no trial yet."""
        self._storage = storage
        self._study_id = storage.get_study_id_from_name(study_name)
        self._newest = -1
        self._unfinished: set[int] = set()

    def read_new(self) -> dict[int, dict[int, float]]:
        """Return the values, by id and step, of trials that are complete since the last call."""
        model = TrialIntermediateValueModel
        changed = select(TrialModel.trial_id, TrialModel.state).where(
            TrialModel.study_id == self._study_id,
            (TrialModel.trial_id > self._newest) | TrialModel.trial_id.in_(self._unfinished),
        )
        with self._storage.engine.begin() as connection:
            states = {row.trial_id: row.state for row in connection.execute(changed)}
            new = {number for number, state in states.items() if state is TrialState.COMPLETE}
            rows = select(
                model.trial_id, model.step, model.intermediate_value, model.intermediate_value_type
            ).where(model.trial_id.in_(new))
            found = connection.execute(rows).all() if new else []
        self._newest = max(states, default=self._newest)
        self._unfinished = {n for n, state in states.items() if not state.is_finished()}
        values: dict[int, dict[int, float]] = {number: {} for number in new}
        for trial_id, step, value, kind in found:
            values[trial_id][step] = _from_stored(value, kind)
        return values


def _lock_running(connection: Connection, trial_ids: set[int]) -> set[int]:
    """Return which of the trials run, and keep them from being ended until the transaction is."""
    running = (
        select(TrialModel.trial_id)
        .where(TrialModel.trial_id.in_(trial_ids), TrialModel.state == TrialState.RUNNING)
        .with_for_update(read=True)
    )
    return set(connection.scalars(running))


def _value_row(trial_id: int, step: int, value: float) -> dict[str, Any]:
    stored, kind = _to_stored(value)
    return {
        "trial_id": trial_id,
        "step": step,
        "intermediate_value": stored,
        "intermediate_value_type": kind,
    }
