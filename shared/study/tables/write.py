"""Write to Optuna's own tables, many rows a round trip.

Optuna's API makes one to seven round trips for each value. What is written here is what it would
have written: the same tables, columns and stored forms, so that every Optuna tool reads it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from math import isnan
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages._rdb.models import (
    TrialHeartbeatModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import TrialState
from sqlalchemy import Connection, select, update

from shared.study.tables.read import Params, among, database_now
from shared.study.tables.rows import insert_missing, write_attrs

_to_json = lru_cache(maxsize=1024)(distribution_to_json)
_to_stored = TrialIntermediateValueModel.intermediate_value_to_stored_repr


@dataclass(frozen=True)
class Ended:
    """Say how a trial ended, with a value for each objective.

    As with `Study.tell`, a pruned trial's value is its last one.
    """

    state: TrialState
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Report:
    """Hold what is new about a running trial: intermediate values, user attributes, its end."""

    trial_id: int
    values: Mapping[int, float] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    end: Ended | None = None


def write_reports(connection: Connection, reports: Sequence[Report]) -> set[int]:
    """Write values, by step, attributes and ends; return the trials, by id, that were running.

    The others are left alone. A step that was reported before keeps its first value, as with
    `Trial.report`.
    """
    running = lock_running(connection, {report.trial_id for report in reports})
    reports = [report for report in reports if report.trial_id in running]
    values = [
        (report.trial_id, step, *_to_stored(value))
        for report in reports
        for step, value in report.values.items()
    ]
    columns = ("trial_id", "step", "intermediate_value", "intermediate_value_type")
    insert_missing(connection, TrialIntermediateValueModel, columns, values)
    attrs = [
        (report.trial_id, key, value) for report in reports for key, value in report.attrs.items()
    ]
    write_attrs(connection, TrialUserAttributeModel, attrs)
    _write_ends(connection, {report.trial_id: report.end for report in reports if report.end})
    return running


def write_params(connection: Connection, params: Mapping[int, Params]) -> None:
    """Write the parameters of running trials, by id; may be repeated."""
    running = lock_running(connection, set(params))
    rows = [
        (trial_id, name, value, _to_json(distribution))
        for trial_id in running
        for name, (value, distribution) in params[trial_id].items()
    ]
    columns = ("trial_id", "param_name", "param_value", "distribution_json")
    insert_missing(connection, TrialParamModel, columns, rows)


def beat(connection: Connection, trial_ids: Collection[int]) -> set[int]:
    """Record that the trials are worked on; return those of them that no longer run.

    Whoever works on one of these must let it be: another has failed it, and it may run again.
    """
    model = TrialHeartbeatModel
    beats = (
        update(model)
        .where(
            among(model.trial_id, trial_ids),
            model.trial_id == TrialModel.trial_id,
            TrialModel.state == TrialState.RUNNING,
        )
        .values(heartbeat=database_now())
        .returning(model.trial_id)
        .execution_options(synchronize_session=False)
    )
    return set(trial_ids) - set(connection.scalars(beats))


def _write_ends(connection: Connection, ends: Mapping[int, Ended]) -> None:
    now = utc_now()
    for state in {end.state for end in ends.values()}:
        ids = [trial_id for trial_id, end in ends.items() if end.state is state]
        ended = update(TrialModel).where(among(TrialModel.trial_id, ids))
        connection.execute(ended.values(state=state, datetime_complete=now))
    rows = [
        (trial_id, objective, *TrialValueModel.value_to_stored_repr(value))
        for trial_id, end in ends.items()
        if not any(map(isnan, end.values))
        for objective, value in enumerate(end.values)
    ]
    columns = ("trial_id", "objective", "value", "value_type")
    insert_missing(connection, TrialValueModel, columns, rows)


def utc_now() -> datetime:
    """Return the time as Optuna's tables keep it."""
    return datetime.now(UTC).replace(tzinfo=None)  # as Optuna keeps times since its version 5


def lock_running(connection: Connection, trial_ids: Collection[int]) -> set[int]:
    """Return which of the trials run, and keep others from ending them until the transaction is."""
    running = (
        select(TrialModel.trial_id)
        .where(among(TrialModel.trial_id, trial_ids), TrialModel.state == TrialState.RUNNING)
        .order_by(TrialModel.trial_id)
        .with_for_update(key_share=True)
    )
    return set(connection.scalars(running))
