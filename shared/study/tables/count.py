"""Count trials and find the best one in Optuna's own tables, without reading them all."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from optuna.storages._rdb.models import (
    StudyDirectionModel,
    TrialModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, Select, and_, case, func, literal, select
from sqlalchemy.orm import aliased

from shared.study.tables.read import among, read_values


@dataclass(frozen=True)
class BestTrial:
    """The complete trial that ranks first, and its values in the order of the objectives."""

    trial_id: int
    number: int
    values: tuple[float, ...]

    @property
    def value(self) -> float:
        """The value of the first objective."""
        return self.values[0]


class TrialTally:
    """How many trials a study has in each state, and which is best, as one process knows it.

    It is read anew only where it may have changed: a finished trial never does, and the trials of a
    study are made one after the other, so those before the oldest unfinished one are settled.
    """

    def __init__(self, study_id: int) -> None:
        """Know of no trial yet."""
        self._study_id = study_id
        self._settled: Counter[TrialState] = Counter()
        self._settled_to = -1
        self._best: BestTrial | None = None
        self._compared_to = -1

    def count(self, connection: Connection) -> Counter[TrialState]:
        """Count the trials by state; may be repeated."""
        is_later = and_(
            TrialModel.study_id == self._study_id, TrialModel.trial_id > self._settled_to
        )
        oldest_open = (
            select(func.min(TrialModel.trial_id))
            .where(is_later, TrialModel.state.in_((TrialState.RUNNING, TrialState.WAITING)))
            .scalar_subquery()
        )
        is_settled = func.coalesce(TrialModel.trial_id < oldest_open, True)
        rows = connection.execute(
            select(is_settled, TrialModel.state, func.count(), func.max(TrialModel.trial_id))
            .where(is_later)
            .group_by(is_settled, TrialModel.state)
        ).all()
        settled = [(state, n, last) for is_settled, state, n, last in rows if is_settled]
        self._settled.update({state: n for state, n, _ in settled})
        self._settled_to = max([self._settled_to, *(last for *_, last in settled)])
        return self._settled + Counter({state: n for is_, state, n, _ in rows if not is_})

    def best(self, connection: Connection) -> BestTrial | None:
        """Return the complete trial that ranks first, None without any; may be repeated.

        Of equal values of the first objective the next one decides, and at last the number.
        """
        settled_to = self._settled_to
        known = -1 if self._best is None else self._best.trial_id
        best = select(TrialModel.trial_id, TrialModel.number).where(
            TrialModel.study_id == self._study_id,
            TrialModel.state == TrialState.COMPLETE,
            (TrialModel.trial_id > self._compared_to) | (TrialModel.trial_id == known),
        )
        for objective, direction in enumerate(read_directions(connection, self._study_id)):
            best = _ordered_by(best, objective, direction)
        found = connection.execute(best.order_by(TrialModel.number).limit(1)).first()
        if found is not None and found.trial_id != known:
            values = read_values(connection, [found.trial_id])[found.trial_id]
            self._best = BestTrial(found.trial_id, found.number, tuple(values))
        self._compared_to = settled_to
        return self._best


def count_failed(
    connection: Connection, study_id: int, key: str, value: str, besides: Collection[int] = ()
) -> int:
    """Count the failed trials that have a user attribute, besides some that are known by id."""
    model = TrialUserAttributeModel
    failed = (
        select(func.count())
        .select_from(TrialModel)
        .join(model, model.trial_id == TrialModel.trial_id)
        .where(
            TrialModel.study_id == study_id,
            TrialModel.state == TrialState.FAIL,
            model.key == key,
            model.value_json == json.dumps(value),
            ~among(TrialModel.trial_id, besides),
        )
    )
    return int(connection.execute(failed).scalar_one())


def read_directions(connection: Connection, study_id: int) -> Sequence[StudyDirection]:
    """Return which way each objective is better."""
    model = StudyDirectionModel
    directions = select(model.direction).where(model.study_id == study_id)
    return connection.scalars(directions.order_by(model.objective)).all()


def _ordered_by(trials: Select[Any], objective: int, direction: StudyDirection) -> Select[Any]:
    """Order trials by an objective, after those that they are ordered by already."""
    model = aliased(TrialValueModel)
    is_of = and_(model.trial_id == TrialModel.trial_id, model.objective == objective)
    kinds = TrialValueModel.TrialValueType
    value = case(
        (model.value_type == kinds.INF_POS, literal(inf)),
        (model.value_type == kinds.INF_NEG, literal(-inf)),
        else_=model.value,
    )
    is_minimised = direction is StudyDirection.MINIMIZE
    return trials.join(model, is_of).order_by(value.asc() if is_minimised else value.desc())
