"""Write to Optuna's own tables, many rows a round trip.

Optuna's API makes one to seven round trips for each value. What is written here is what it would
have written: the same tables, columns and stored forms, so that every Optuna tool reads it. No
file but this one and `bulk_read` knows Optuna's tables.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from math import isnan
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import (
    StudyModel,
    TrialHeartbeatModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import TrialState
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    String,
    Text,
    and_,
    bindparam,
    cast,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.types import TypeEngine

from shared.search.bulk_read import Params, among, database_now, read_params

MAX_IDLE_S = 60.0
"""How long a transaction that holds locks may do nothing."""

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


@dataclass(frozen=True)
class Begun:
    """Hold a trial that runs from now on; one that was enqueued comes with what it was given."""

    trial_id: int
    number: int
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    params: Params = field(default_factory=dict)


def write_reports(storage: RDBStorage, reports: Sequence[Report]) -> set[int]:
    """Write values, by step, attributes and ends; trials that no longer run are left alone.

    A step that was reported before keeps its first value, as with `Trial.report`. Returns the ids
    of the trials that ran, whose reports were accepted.
    """
    with storage.engine.begin() as connection:
        running = _lock_running(connection, {report.trial_id for report in reports})
        reports = [report for report in reports if report.trial_id in running]
        values = [
            (report.trial_id, step, *_to_stored(value))
            for report in reports
            for step, value in report.values.items()
        ]
        if values:
            columns = ("trial_id", "step", "intermediate_value", "intermediate_value_type")
            statement = _insert(TrialIntermediateValueModel, columns, values)
            connection.execute(statement.on_conflict_do_nothing())
        attrs = [
            (report.trial_id, key, value)
            for report in reports
            for key, value in report.attrs.items()
        ]
        _write_attrs(connection, attrs)
        _write_ends(connection, {report.trial_id: report.end for report in reports if report.end})
        return running


def lock_study(connection: Connection, study_id: int) -> None:
    """Keep all others, Optuna's API among them, from creating trials until the transaction ends."""
    study = select(StudyModel.study_id, _not_for_long()).where(StudyModel.study_id == study_id)
    connection.execute(study.with_for_update(key_share=True))


def begin_trials(
    connection: Connection,
    study_id: int,
    n: int,
    counts: Counter[TrialState],
    attrs: Mapping[str, Any],
) -> list[Begun]:
    """Have `n` trials run, enqueued ones first, with a heartbeat and user attributes each.

    `counts` are the study's trials by state, since the study was locked.
    """
    begun = _begin_waiting(connection, study_id, n) if counts[TrialState.WAITING] else []
    rows = [
        {
            "study_id": study_id,
            "number": counts.total() + i,
            "state": TrialState.RUNNING,
            "datetime_start": _now(),
        }
        for i in range(n - len(begun))
    ]
    if rows:
        created = insert(TrialModel).returning(
            TrialModel.trial_id, TrialModel.number, sort_by_parameter_order=True
        )
        begun += [Begun(*row) for row in connection.execute(created, rows)]
    _write_attrs(connection, [(one.trial_id, *attr) for one in begun for attr in attrs.items()])
    _beat(connection, [one.trial_id for one in begun])
    return begun


def write_params(storage: RDBStorage, params: Mapping[int, Params]) -> None:
    """Write the parameters of running trials, by id; may be repeated."""
    with storage.engine.begin() as connection:
        running = _lock_running(connection, set(params))
        rows = [
            (trial_id, name, value, _to_json(distribution))
            for trial_id in running
            for name, (value, distribution) in params[trial_id].items()
        ]
        if rows:
            columns = ("trial_id", "param_name", "param_value", "distribution_json")
            statement = _insert(TrialParamModel, columns, rows)
            connection.execute(statement.on_conflict_do_nothing())


def beat(storage: RDBStorage, trial_ids: Collection[int]) -> set[int]:
    """Record that the trials are worked on; return those of them that no longer run.

    Whoever works on one of these must let it be: another has failed it, and it may run again.
    """
    if not trial_ids:
        return set()
    with storage.engine.begin() as connection:
        return set(trial_ids) - _beat(connection, trial_ids)


def read_stale(storage: RDBStorage, study_id: int, grace_s: float) -> set[int]:
    """Return the running trials without a heartbeat in `grace_s`, by the database's clock.

    One that has none at all, because its worker died at once, gets its first one here.
    """
    running = and_(TrialModel.study_id == study_id, TrialModel.state == TrialState.RUNNING)
    heartbeat = TrialHeartbeatModel.heartbeat
    first = insert(TrialHeartbeatModel).from_select(
        ["trial_id", "heartbeat"], select(TrialModel.trial_id, database_now()).where(running)
    )
    age_s = func.extract("epoch", database_now() - heartbeat)
    stale = (
        select(TrialModel.trial_id)
        .join(TrialHeartbeatModel, TrialHeartbeatModel.trial_id == TrialModel.trial_id)
        .where(running, age_s > grace_s)
    )
    with storage.engine.begin() as connection:
        connection.execute(first.on_conflict_do_nothing())
        return set(connection.scalars(stale))


def _begin_waiting(connection: Connection, study_id: int, n: int) -> list[Begun]:
    waiting = (
        select(TrialModel.trial_id, TrialModel.number)
        .where(TrialModel.study_id == study_id, TrialModel.state == TrialState.WAITING)
        .order_by(TrialModel.number)
        .limit(n)
        .with_for_update(skip_locked=True)
    )
    begun = [Begun(*row) for row in connection.execute(waiting)]
    if begun:
        ids = [one.trial_id for one in begun]
        running = update(TrialModel).where(among(TrialModel.trial_id, ids))
        connection.execute(running.values(state=TrialState.RUNNING, datetime_start=_now()))
        params = read_params(connection, ids)
        begun = [replace(one, params=params.get(one.trial_id, {})) for one in begun]
        by_id = {one.trial_id: one for one in begun}
        for model, kind in (
            (TrialUserAttributeModel, "user_attrs"),
            (TrialSystemAttributeModel, "system_attrs"),
        ):
            rows = select(model.trial_id, model.key, model.value_json)
            for trial_id, key, value in connection.execute(rows.where(among(model.trial_id, ids))):
                getattr(by_id[trial_id], kind)[key] = json.loads(value)
    return begun


def _write_ends(connection: Connection, ends: Mapping[int, Ended]) -> None:
    now = _now()
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
    if rows:
        columns = ("trial_id", "objective", "value", "value_type")
        connection.execute(_insert(TrialValueModel, columns, rows))


def _write_attrs(connection: Connection, attrs: Sequence[tuple[int, str, Any]]) -> None:
    """Write user attributes; of several values for a key, the last one stays."""
    if not attrs:
        return
    last = {(trial_id, key): value for trial_id, key, value in attrs}
    rows = [(*trial_and_key, json.dumps(value)) for trial_and_key, value in last.items()]
    upsert = _insert(TrialUserAttributeModel, ("trial_id", "key", "value_json"), rows)
    upsert = upsert.on_conflict_do_update(
        index_elements=["trial_id", "key"], set_={"value_json": upsert.excluded.value_json}
    )
    connection.execute(upsert)


def _beat(connection: Connection, trial_ids: Collection[int]) -> set[int]:
    """Write heartbeats of running trials by the database's clock; return those that run."""
    running = select(TrialModel.trial_id, database_now()).where(
        among(TrialModel.trial_id, trial_ids), TrialModel.state == TrialState.RUNNING
    )
    upsert = insert(TrialHeartbeatModel).from_select(["trial_id", "heartbeat"], running)
    upsert = upsert.on_conflict_do_update(
        index_elements=["trial_id"], set_={"heartbeat": upsert.excluded.heartbeat}
    )
    return set(connection.scalars(upsert.returning(TrialHeartbeatModel.trial_id)))


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)  # as Optuna keeps times since its version 5


def _not_for_long() -> ColumnElement[str]:
    """Have the server end the transaction of a client that is cut off: it would keep its locks."""
    name, ms = "idle_in_transaction_session_timeout", str(round(1000 * MAX_IDLE_S))
    return func.set_config(name, ms, True)


def _lock_running(connection: Connection, trial_ids: Collection[int]) -> set[int]:
    """Return which of the trials run, and keep others from ending them until the transaction is."""
    running = (
        select(TrialModel.trial_id, _not_for_long())
        .where(among(TrialModel.trial_id, trial_ids), TrialModel.state == TrialState.RUNNING)
        .order_by(TrialModel.trial_id)
        .with_for_update(key_share=True)
    )
    return set(connection.scalars(running))


def _insert(model: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Insert:
    """Say `INSERT ... SELECT FROM unnest(...)`: one parameter a column, for any number of rows.

    SQLAlchemy's psycopg2 sends the rows of an upsert one by one.
    """
    table = model.__table__
    arrays = [
        bindparam(None, [_plain(value) for value in values], ARRAY(_array_type(table.c[name].type)))
        for name, values in zip(columns, zip(*rows, strict=True), strict=True)
    ]
    unnested = func.unnest(*arrays).table_valued(*columns).render_derived()
    chosen = select(*(cast(unnested.c[name], table.c[name].type) for name in columns))
    return insert(model).from_select(list(columns), chosen)


def _array_type(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    return Text() if isinstance(type_, String) else type_


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, Enum) else value
