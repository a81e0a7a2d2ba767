"""Make trials run, fail and wait again in Optuna's own tables, any number in some statements."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from optuna.storages._rdb.models import (
    TrialHeartbeatModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
)
from optuna.trial import TrialState
from sqlalchemy import Connection, Integer, select, text, update
from sqlalchemy.dialects.postgresql import insert

from shared.study.attributes import REQUEST
from shared.study.tables.read import (
    Params,
    among,
    database_now,
    read_params,
    read_trial_attrs,
)
from shared.study.tables.rows import unnested, write_attrs
from shared.study.tables.write import lock_running, utc_now

# One round trip: all who ask wait meanwhile. The rows refer to trials of the same statement, which
# PostgreSQL checks at its end.
_BEGIN_NEW = text("""
WITH new AS (
    INSERT INTO trials (study_id, number, state, datetime_start)
    SELECT :study_id, :first_number + i, 'RUNNING', :now FROM generate_series(0, :n - 1) AS i
    RETURNING trial_id, number
), described AS (
    INSERT INTO trial_user_attributes (trial_id, key, value_json)
    SELECT trial_id, key, value
    FROM new, unnest(CAST(:keys AS text[]), CAST(:values AS text[])) AS attrs (key, value)
), requested AS (
    INSERT INTO trial_system_attributes (trial_id, key, value_json)
    SELECT trial_id, :request_key, :request FROM new
), alive AS (
    INSERT INTO trial_heartbeats (trial_id, heartbeat)
    SELECT trial_id, timezone('UTC', clock_timestamp()) FROM new
)
SELECT trial_id, number FROM new ORDER BY number
""")


@dataclass(frozen=True)
class Begun:
    """Hold a trial that runs from now on; one that was enqueued comes with what it was given."""

    trial_id: int
    number: int
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    params: Params = field(default_factory=dict)


@dataclass(frozen=True)
class FailedTrial:
    """A trial that has just been failed."""

    trial_id: int
    number: int
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]


@dataclass(frozen=True)
class Repetition:
    """A trial that is to wait, with the parameters of another one."""

    of_trial_id: int
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]


def begin_trials(
    connection: Connection,
    study_id: int,
    n: int,
    counts: Counter[TrialState],
    attrs: Mapping[str, Any],
    request: str,
) -> list[Begun]:
    """Have `n` trials run, enqueued ones first, with a heartbeat and user attributes each.

    `counts` are the study's trials by state, since the study was locked; `request` is what
    `find_begun` finds them by.
    """
    waiting = _begin_waiting(connection, study_id, n) if counts[TrialState.WAITING] else []
    if waiting:
        _mark(connection, [one.trial_id for one in waiting], attrs, request)
    n_new = n - len(waiting)
    return waiting + _begin_new(connection, study_id, n_new, counts.total(), attrs, request)


def find_begun(connection: Connection, study_id: int, request: str) -> list[Begun]:
    """Return the running trials that were handed out to a request before."""
    model = TrialSystemAttributeModel
    handed_out = (
        select(TrialModel.trial_id, TrialModel.number)
        .join(model, model.trial_id == TrialModel.trial_id)
        .where(
            TrialModel.study_id == study_id,
            TrialModel.state == TrialState.RUNNING,
            model.key == REQUEST,
            model.value_json == json.dumps(request),
        )
        .order_by(TrialModel.number)
    )
    return _described(connection, [Begun(*row) for row in connection.execute(handed_out)])


def fail_trials(
    connection: Connection,
    trial_ids: Collection[int],
    attrs: Mapping[str, Any],
    heartbeats: Mapping[int, datetime | None] | None = None,
) -> list[FailedTrial]:
    """Fail those of the trials that run, with user attributes; return them in order.

    With `heartbeats`, by id, only those whose last one is still the same.
    """
    running = lock_running(connection, trial_ids)
    if heartbeats is not None:
        model = TrialHeartbeatModel
        beats = select(model.trial_id, model.heartbeat).where(among(model.trial_id, running))
        now = {row.trial_id: row.heartbeat for row in connection.execute(beats.with_for_update())}
        running = {trial_id for trial_id in running if now.get(trial_id) == heartbeats[trial_id]}
    if not running:
        return []
    ended = update(TrialModel).where(among(TrialModel.trial_id, running))
    ended = ended.values(state=TrialState.FAIL, datetime_complete=utc_now())
    rows = connection.execute(ended.returning(TrialModel.trial_id, TrialModel.number))
    numbers = {row.trial_id: row.number for row in rows}
    new = [(trial_id, *attr) for trial_id in running for attr in attrs.items()]
    write_attrs(connection, TrialUserAttributeModel, new)
    ids = sorted(running, key=lambda trial_id: numbers[trial_id])
    user_attrs = read_trial_attrs(connection, ids)
    system_attrs = read_trial_attrs(connection, ids, of_system=True)
    return [FailedTrial(i, numbers[i], user_attrs[i], system_attrs[i]) for i in ids]


def enqueue_fixed(
    connection: Connection, study_id: int, n_trials: int, params: Mapping[str, Any]
) -> None:
    """Have a trial wait with parameters, as `Study.enqueue_trial` does; the study is locked."""
    ((trial_id, _),) = _enqueue(connection, study_id, 1, n_trials)
    write_attrs(connection, TrialSystemAttributeModel, [(trial_id, "fixed_params", dict(params))])


def enqueue_again(
    connection: Connection, study_id: int, n_trials: int, repetitions: Sequence[Repetition]
) -> None:
    """Have trials wait with the parameters of others; `n_trials` are there, the study is locked."""
    if not repetitions:
        return
    created = _enqueue(connection, study_id, len(repetitions), n_trials)
    new = {one.of_trial_id: row[0] for one, row in zip(repetitions, created, strict=True)}
    pairs = unnested(("old", "new"), (Integer, Integer), list(new.items()))
    model = TrialParamModel
    columns = ("param_name", "param_value", "distribution_json")
    same = (
        select(pairs.c.new, *(getattr(model, name) for name in columns))
        .where(model.trial_id == pairs.c.old)
        .order_by(model.param_id)
    )
    connection.execute(insert(model).from_select(["trial_id", *columns], same))
    for attr_model, kind in (
        (TrialUserAttributeModel, "user_attrs"),
        (TrialSystemAttributeModel, "system_attrs"),
    ):
        attrs = [
            (new[one.of_trial_id], *attr)
            for one in repetitions
            for attr in getattr(one, kind).items()
        ]
        write_attrs(connection, attr_model, attrs)


def _begin_new(
    connection: Connection,
    study_id: int,
    n: int,
    first_number: int,
    attrs: Mapping[str, Any],
    request: str,
) -> list[Begun]:
    if not n:
        return []
    values = {
        "study_id": study_id,
        "first_number": first_number,
        "n": n,
        "now": utc_now(),
        "keys": list(attrs),
        "values": [json.dumps(value) for value in attrs.values()],
        "request_key": REQUEST,
        "request": json.dumps(request),
    }
    return [Begun(*row) for row in connection.execute(_BEGIN_NEW, values)]


def _mark(
    connection: Connection, ids: Sequence[int], attrs: Mapping[str, Any], request: str
) -> None:
    """Give trials that waited their attributes and a first heartbeat, as new ones have them."""
    write_attrs(
        connection, TrialUserAttributeModel, [(i, *attr) for i in ids for attr in attrs.items()]
    )
    write_attrs(connection, TrialSystemAttributeModel, [(i, REQUEST, request) for i in ids])
    first = select(TrialModel.trial_id, database_now()).where(
        among(TrialModel.trial_id, ids), ~_has_heartbeat()
    )
    connection.execute(insert(TrialHeartbeatModel).from_select(["trial_id", "heartbeat"], first))


def _enqueue(
    connection: Connection, study_id: int, n: int, first_number: int
) -> list[tuple[int, int]]:
    """Make `n` trials that wait, and return their ids and numbers."""
    rows = [
        {"study_id": study_id, "number": first_number + i, "state": TrialState.WAITING}
        for i in range(n)
    ]
    created = insert(TrialModel).returning(
        TrialModel.trial_id, TrialModel.number, sort_by_parameter_order=True
    )
    return [(row.trial_id, row.number) for row in connection.execute(created, rows)]


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
        connection.execute(running.values(state=TrialState.RUNNING, datetime_start=utc_now()))
    return _described(connection, begun)


def _described(connection: Connection, begun: Sequence[Begun]) -> list[Begun]:
    """Return the trials with what was given to them."""
    ids = [one.trial_id for one in begun]
    params = read_params(connection, ids)
    user_attrs = read_trial_attrs(connection, ids)
    system_attrs = read_trial_attrs(connection, ids, of_system=True)
    return [
        replace(
            one,
            params=params.get(one.trial_id, {}),
            user_attrs=user_attrs[one.trial_id],
            system_attrs=system_attrs[one.trial_id],
        )
        for one in begun
    ]


def _has_heartbeat() -> Any:
    return (
        select(TrialHeartbeatModel.trial_id)
        .where(TrialHeartbeatModel.trial_id == TrialModel.trial_id)
        .exists()
    )
