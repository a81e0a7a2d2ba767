"""Read from Optuna's own tables, only what is asked for and only what is new.

Optuna's API reads whole trials, and every unfinished one again at each call.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import inf, nan
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb.models import (
    BaseModel,
    TrialHeartbeatModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.study import Study
from optuna.trial import TrialState
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Float,
    Integer,
    Row,
    Select,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal,
    not_,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, distinct_on
from sqlalchemy.types import NullType

_LossKind = TrialIntermediateValueModel.TrialIntermediateValueType
_to_distribution = lru_cache(maxsize=1024)(json_to_distribution)


@dataclass(frozen=True)
class SpentSequence:
    """A counter of the server's that numbers the rows of a table, and how much of it is used up."""

    name: str
    table: str
    column: str
    share: float


_UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)

Params = Mapping[str, tuple[float, BaseDistribution]]
"""A trial's parameters by name: the value in Optuna's internal form, and its distribution."""


@dataclass(frozen=True)
class ParamColumn:
    """The values, in Optuna's internal form, that trials have of one parameter."""

    name: str
    distribution: BaseDistribution
    trial_ids: Sequence[int]
    values: Sequence[float]


def id_of(study: Study) -> int:
    """Return a study's id in the storage, which Optuna has no public name for."""
    study_id: int = study._study_id  # noqa: SLF001
    return study_id


def among(column: Any, ids: Collection[int]) -> ColumnElement[bool]:
    """Say `column = ANY(ids)`: one parameter, however many ids there are."""
    is_one: ColumnElement[bool] = column == any_(bindparam(None, list(ids), type_=ARRAY(Integer)))
    return is_one


def read_running(connection: Connection, study_id: int) -> list[int]:
    """Return the ids of the running trials."""
    running = select(TrialModel.trial_id).where(
        TrialModel.study_id == study_id, TrialModel.state == TrialState.RUNNING
    )
    return list(connection.scalars(running))


def read_heartbeats(connection: Connection, study_id: int) -> dict[int, datetime | None]:
    """Return the last heartbeats of the running trials, by id; None for those without any."""
    model = TrialHeartbeatModel
    beats = (
        select(TrialModel.trial_id, model.heartbeat)
        .outerjoin(model, model.trial_id == TrialModel.trial_id)
        .where(TrialModel.study_id == study_id, TrialModel.state == TrialState.RUNNING)
    )
    return {row.trial_id: row.heartbeat for row in connection.execute(beats)}


class Changes:
    """Follow the states of a study's trials; a finished trial never changes."""

    def __init__(self, study_id: int) -> None:
        """Know of no trial yet."""
        self._study_id = study_id
        self._newest = -1
        self._unfinished: set[int] = set()

    @property
    def ended(self) -> ColumnElement[bool]:
        """The condition on the rows of `trials` that holds for those known to have ended."""
        return and_(
            TrialModel.study_id == self._study_id,
            TrialModel.trial_id <= self._newest,
            not_(among(TrialModel.trial_id, self._unfinished)),
        )

    def skip_ended(self, connection: Connection) -> Sequence[Row[Any, Any, Any]]:
        """Return trial_id, number and state of the unfinished trials, and take all for known.

        Those that have ended by now are never returned, however many there are: what is needed of
        them is to be read by the condition `ended`.
        """
        of_study = TrialModel.study_id == self._study_id
        newest = connection.execute(select(func.max(TrialModel.trial_id)).where(of_study)).scalar()
        self._newest = -1 if newest is None else newest
        rows = connection.execute(
            self._states().where(
                TrialModel.trial_id <= self._newest, TrialModel.state.in_(_UNFINISHED)
            )
        ).all()
        self._unfinished = {row.trial_id for row in rows}
        return rows

    def read(
        self, connection: Connection, n_new: int | None = None
    ) -> Sequence[Row[Any, Any, Any]]:
        """Return trial_id, number and state of trials that are new, or were unfinished before.

        They come in the order of their ids, and are returned again until they are accepted: what is
        read of them next may fail. Of the new ones the next `n_new`, if it is given.
        """
        known = self._states().where(among(TrialModel.trial_id, self._unfinished))
        new = self._states().where(TrialModel.trial_id > self._newest).limit(n_new)
        both = union_all(known.subquery().select(), new.subquery().select())
        return connection.execute(both.order_by("trial_id")).all()

    def accept(self, rows: Sequence[Row[Any, Any, Any]]) -> None:
        """Take it that these changes are known."""
        self._newest = max([self._newest, *(row.trial_id for row in rows)])
        self._unfinished = {row.trial_id for row in rows if not row.state.is_finished()}

    def _states(self) -> Select[Any, Any, Any]:
        chosen = select(TrialModel.trial_id, TrialModel.number, TrialModel.state)
        of_study = chosen.where(TrialModel.study_id == self._study_id)
        return of_study.order_by(TrialModel.trial_id)


def read_intermediate_values(
    connection: Connection, trial_ids: Collection[int], *, last_only: bool = False
) -> dict[int, dict[int, float]]:
    """Return the intermediate values of trials, by id and step, or only each one's last."""
    values: dict[int, dict[int, float]] = {trial_id: {} for trial_id in trial_ids}
    if not values:
        return values
    model = TrialIntermediateValueModel
    of_these = among(model.trial_id, trial_ids)
    if last_only:
        last = select(model.trial_id, model.step, _REPORTED).ext(distinct_on(model.trial_id))
        last = last.where(of_these).order_by(model.trial_id, model.step.desc())
        for trial_id, step, value in connection.execute(last):
            values[trial_id] = {step: value}
        return values
    rows = (
        select(model.trial_id, _array(model.step), _array(_REPORTED))
        .where(of_these)
        .group_by(model.trial_id)
    )
    for trial_id, steps, reported in connection.execute(rows):
        values[trial_id] = dict(zip(steps, reported, strict=True))
    return values


def read_values(connection: Connection, trial_ids: Collection[int]) -> dict[int, list[float]]:
    """Return the values of trials that have some, by id, in the order of the objectives."""
    if not trial_ids:
        return {}
    model = TrialValueModel
    in_order = _array(aggregate_order_by(VALUE, model.objective))
    rows = select(model.trial_id, in_order).group_by(model.trial_id)
    return dict(connection.execute(rows.where(among(model.trial_id, trial_ids))).all())


def read_trial_attrs(
    connection: Connection,
    trial_ids: Collection[int],
    keys: Collection[str] | None = None,
    *,
    of_system: bool = False,
) -> dict[int, dict[str, Any]]:
    """Return the user attributes of trials, or the system attributes, by id and name.

    All of them, or those that `keys` name.
    """
    attrs: dict[int, dict[str, Any]] = {trial_id: {} for trial_id in trial_ids}
    if not attrs:
        return attrs
    model: Any = TrialSystemAttributeModel if of_system else TrialUserAttributeModel
    rows = select(model.trial_id, model.key, model.value_json).where(
        among(model.trial_id, trial_ids)
    )
    if keys is not None:
        rows = rows.where(model.key.in_(keys))
    for trial_id, key, value in connection.execute(rows):
        attrs[trial_id][key] = json.loads(value)
    return attrs


def read_params(connection: Connection, trial_ids: Collection[int]) -> dict[int, Params]:
    """Return the parameters of trials that have some, by id."""
    params: defaultdict[int, dict[str, tuple[float, BaseDistribution]]] = defaultdict(dict)
    for column in read_param_columns(connection, trial_ids):
        for trial_id, value in zip(column.trial_ids, column.values, strict=True):
            params[trial_id][column.name] = (value, column.distribution)
    return dict(params)


def read_param_columns(connection: Connection, trial_ids: Collection[int]) -> Sequence[ParamColumn]:
    """Return the parameters of trials by name and distribution, in the order of their first ids."""
    if not trial_ids:
        return []
    model = TrialParamModel
    arrays = (_array(model.trial_id), _array(model.param_value))
    rows = (
        select(model.param_name, model.distribution_json, *arrays)
        .where(among(model.trial_id, trial_ids))
        .group_by(model.param_name, model.distribution_json)
        .order_by(func.min(model.param_id))
    )
    return [
        ParamColumn(name, _to_distribution(distribution), ids, values)
        for name, distribution, ids, values in connection.execute(rows)
    ]


def read_times(
    connection: Connection, trial_ids: Collection[int]
) -> dict[int, tuple[float | None, float | None]]:
    """Return when trials began and ended, by id, in seconds since 1970."""
    if not trial_ids:
        return {}
    table = TrialModel.__table__
    # Optuna keeps them in UTC, in columns without a time zone, whose epoch is taken to be in UTC.
    start, end = (
        func.extract("epoch", table.c[f"datetime_{end}"]) for end in ("start", "complete")
    )
    rows = select(table.c.trial_id, start, end).where(among(table.c.trial_id, trial_ids))
    return {row[0]: (_to_float(row[1]), _to_float(row[2])) for row in connection.execute(rows)}


def read_silences(connection: Connection, trial_ids: Collection[int]) -> dict[int, float]:
    """Return the seconds since the last heartbeat of trials that have one, by id."""
    if not trial_ids:
        return {}
    model = TrialHeartbeatModel
    age_s: Any = func.extract("epoch", database_now() - model.heartbeat)
    rows = select(model.trial_id, age_s).where(among(model.trial_id, trial_ids))
    return {trial_id: float(seconds) for trial_id, seconds in connection.execute(rows)}


def database_now() -> ColumnElement[Any]:
    """Return the database's clock in UTC, without a zone, as heartbeats are kept.

    A session's own time would leap with daylight saving, and differ between nodes.
    """
    # Not now(), which is when the transaction began: it may have waited for a lock since.
    return func.timezone("UTC", func.clock_timestamp())


def read_clock(connection: Connection) -> float:
    """Return the time by the database's clock, in seconds since 1970."""
    return float(connection.execute(select(func.extract("epoch", func.now()))).scalar_one())


def read_sequences(connection: Connection) -> list[SpentSequence]:
    """Return the counters of four bytes that number the rows of Optuna's tables."""
    query = text(
        "SELECT s.seqrelid::regclass::text, t.relname, a.attname,"
        " coalesce(pg_sequence_last_value(s.seqrelid), 0)::float / s.seqmax"
        " FROM pg_sequence s JOIN pg_depend d ON d.objid = s.seqrelid AND d.deptype IN ('a', 'i')"
        " JOIN pg_class t ON t.oid = d.refobjid"
        " JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid"
        " WHERE t.relname = ANY(:tables) AND s.seqmax = 2147483647"
    )
    rows = connection.execute(query, {"tables": list(BaseModel.metadata.tables)})
    return [SpentSequence(*row) for row in rows]


def float_of(column: Any, kind: Any, others: Mapping[Any, float]) -> Any:
    """Return a stored number, of which the table keeps what is not finite as a kind of its own."""
    whens = [(kind == one, literal(number, Float)) for one, number in others.items()]
    return case(*whens, else_=column)


def _array(column: Any) -> Any:
    """Gather a column of a group's rows into an array, which comes as a list of its own.

    Arrays of the same rows are in the same order. A row for each number costs ten times as much.
    """
    return func.array_agg(column, type_=NullType())


VALUE = float_of(
    TrialValueModel.value,
    TrialValueModel.value_type,
    {TrialValueModel.TrialValueType.INF_POS: inf, TrialValueModel.TrialValueType.INF_NEG: -inf},
)
"""A trial's value, as a number."""
_REPORTED = float_of(
    TrialIntermediateValueModel.intermediate_value,
    TrialIntermediateValueModel.intermediate_value_type,
    {_LossKind.INF_POS: inf, _LossKind.INF_NEG: -inf, _LossKind.NAN: nan},
)


def _to_float(number: Any) -> float | None:
    return None if number is None else float(number)
