"""Read of the trials that have ended only those that count: the latest, the best, the front.

`ended` is a condition on the rows of `trials`, as `Changes.ended` gives it. What is read is bounded
by what is asked for, however many trials there are; with several objectives, by their values alone.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.storages._rdb.models import TrialIntermediateValueModel, TrialModel, TrialValueModel
from optuna.study import StudyDirection
from optuna.study._multi_objective import _fast_non_domination_rank, _is_pareto_front
from optuna.trial import TrialState
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    func,
    select,
    true,
)

from shared.study.tables.read import VALUE, among, float_of

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_LossKind = TrialIntermediateValueModel.TrialIntermediateValueType
_end = func.coalesce(TrialModel.__table__.c.datetime_complete, func.to_timestamp(0))


def count_ended(connection: Connection, ended: ColumnElement[bool]) -> Counter[TrialState]:
    """Count the trials that have ended, by state."""
    counts = select(TrialModel.state, func.count().label("n")).where(ended)
    rows = connection.execute(counts.group_by(TrialModel.state))
    return Counter({row.state: row.n for row in rows})


def read_states(connection: Connection, trial_ids: Collection[int]) -> Sequence[Row[Any, Any, Any]]:
    """Return trial_id, number and state of trials in the order of their ids."""
    if not trial_ids:
        return []
    rows = select(TrialModel.trial_id, TrialModel.number, TrialModel.state)
    chosen = rows.where(among(TrialModel.trial_id, trial_ids)).order_by(TrialModel.trial_id)
    return connection.execute(chosen).all()


def read_latest(
    connection: Connection, ended: ColumnElement[bool], states: Collection[TrialState], n: int
) -> set[int]:
    """Return the ids of the `n` youngest trials that have ended in one of the states."""
    chosen = select(TrialModel.trial_id).where(ended, TrialModel.state.in_(states))
    return set(connection.scalars(chosen.order_by(TrialModel.trial_id.desc()).limit(n)))


def read_last_ended(
    connection: Connection,
    ended: ColumnElement[bool],
    states: Collection[TrialState],
    n: int | None = None,
    since_s: float = 0.0,
) -> set[int]:
    """Return the ids of the `n` trials that were the last to end in one of the states, or of all.

    Only of those that ended after `since_s`, in seconds since 1970.
    """
    chosen = select(TrialModel.trial_id).where(
        ended, TrialModel.state.in_(states), func.extract("epoch", _end) > since_s
    )
    last_first = chosen.order_by(_end.desc(), TrialModel.trial_id.desc())
    return set(connection.scalars(last_first.limit(n)))


def read_best(
    connection: Connection,
    ended: ColumnElement[bool],
    directions: Sequence[StudyDirection],
    n: int,
) -> set[int]:
    """Return the ids of the `n` trials that TPE takes for the best, and of those level with them.

    Complete ones come first; where they are too few, the pruned ones that got farthest. With
    several objectives whole ranks of them are returned, since Optuna chooses from the last one by
    comparing its members, and never a pruned one, which Optuna does not have there.
    """
    if len(directions) > 1:
        ids, losses = read_losses(connection, ended, directions)
        return set(ids[in_best_ranks(losses, n)].tolist()) if n and len(ids) else set()
    best = _read_best_complete(connection, ended, directions[0], n)
    return best | _read_best_pruned(connection, ended, n - len(best))


def read_losses(
    connection: Connection, ended: ColumnElement[bool], directions: Sequence[StudyDirection]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the (n,) ids of the complete trials, and their (n, objectives) values, least best."""
    rows = (
        select(TrialModel.trial_id, VALUE)
        .join(TrialValueModel, TrialValueModel.trial_id == TrialModel.trial_id)
        .where(ended, TrialModel.state == TrialState.COMPLETE)
        .order_by(TrialModel.trial_id, TrialValueModel.objective)
    )
    found = connection.execute(rows).all()
    ids, values = zip(*found, strict=True) if found else ((), ())
    signs = [-1.0 if one is StudyDirection.MAXIMIZE else 1.0 for one in directions]
    losses = np.array(values, np.float64).reshape(-1, len(directions)) * signs
    return np.array(ids[:: len(directions)], np.int64), losses


def in_best_ranks(losses: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.bool_]:
    """Say which of the (m, objectives) losses are in the first ranks that hold `n` of them.

    A rank is the Pareto front of what the ranks before have left.
    """
    n = min(n, len(losses))
    ranks = _fast_non_domination_rank(losses, n_below=n)
    return np.asarray(ranks <= np.sort(ranks)[n - 1])


def read_front(
    connection: Connection, ended: ColumnElement[bool], directions: Sequence[StudyDirection]
) -> set[int]:
    """Return the ids of the Pareto front of several objectives."""
    ids, losses = read_losses(connection, ended, directions)
    return set(ids[_is_pareto_front(losses, assume_unique_lexsorted=False)].tolist())


def read_improvements(
    connection: Connection, ended: ColumnElement[bool], direction: StudyDirection
) -> dict[int, int]:
    """Return which complete trials were no worse in the first objective than any before, by id.

    With each, how many had finished when it had, itself included.
    """
    is_complete = TrialModel.state == TrialState.COMPLETE
    sign = -1 if direction is StudyDirection.MAXIMIZE else 1
    loss = case((is_complete, sign * VALUE))
    in_time: Any = {"order_by": (_end, TrialModel.trial_id)}
    finished = (
        select(
            TrialModel.trial_id,
            loss.label("loss"),
            func.count().over(**in_time).label("n_finished"),
            func.min(loss).over(**in_time, rows=(None, -1)).label("least"),
        )
        .outerjoin(TrialValueModel, _is_first_value)
        .where(ended, TrialModel.state.in_(_FINISHED))
        .subquery()
    )
    no_worse = finished.c.least.is_(None) | (finished.c.loss <= finished.c.least)
    rows = select(finished.c.trial_id, finished.c.n_finished).where(
        finished.c.loss.is_not(None), no_worse
    )
    return dict(connection.execute(rows).all())


def _read_best_complete(
    connection: Connection, ended: ColumnElement[bool], direction: StudyDirection, n: int
) -> set[int]:
    in_order = VALUE.desc() if direction is StudyDirection.MAXIMIZE else VALUE.asc()
    chosen = (
        select(TrialModel.trial_id)
        .join(TrialValueModel, _is_first_value)
        .where(ended, TrialModel.state == TrialState.COMPLETE)
    )
    return set(connection.scalars(chosen.order_by(in_order, TrialModel.number).limit(n)))


def _read_best_pruned(connection: Connection, ended: ColumnElement[bool], n: int) -> set[int]:
    """Return those that have a loss at the highest steps, of equal ones the least losses."""
    if n <= 0:
        return set()
    model = TrialIntermediateValueModel
    last = (
        select(model.step, _loss.label("loss"))
        .where(model.trial_id == TrialModel.trial_id)
        .order_by(model.step.desc())
        .limit(1)
        .lateral()
    )
    chosen = (
        select(TrialModel.trial_id)
        .outerjoin(last, true())
        .where(ended, TrialModel.state == TrialState.PRUNED)
        .order_by(last.c.step.desc().nulls_last(), last.c.loss, TrialModel.number)
    )
    return set(connection.scalars(chosen.limit(n)))


_is_first_value = and_(
    TrialValueModel.trial_id == TrialModel.trial_id, TrialValueModel.objective == 0
)
_loss = float_of(
    TrialIntermediateValueModel.intermediate_value,
    TrialIntermediateValueModel.intermediate_value_type,
    # To Optuna a loss that is no number is as bad as can be.
    {_LossKind.INF_POS: inf, _LossKind.NAN: inf, _LossKind.INF_NEG: -inf},
)
