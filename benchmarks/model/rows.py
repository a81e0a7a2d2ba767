"""Read all that the database says of a simulation's trials."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from benchmarks.model.database import Database
from shared.study.attributes import CHECKPOINTS, LOSSES, RETRY_OF, Failure, Owner, failure_of

_TABLES = (
    "trial_params",
    "trial_user_attributes",
    "trial_system_attributes",
    "trial_values",
    "trial_intermediate_values",
)
"""What belongs to a trial, but for its heartbeat: one that comes in the very moment in which the
trial is ended may be written after that, and is read by nobody."""
_ALL = " UNION ALL ".join(
    f"SELECT one::text AS line FROM {table} one WHERE one.trial_id = t.trial_id"  # noqa: S608
    for table in _TABLES
)
_ATTRS = "(SELECT json_object_agg(key, value_json) FROM {} a WHERE a.trial_id = t.trial_id)"
_QUERY = f"""
    SELECT t.trial_id, t.number, t.state::text,
        (SELECT count(*) FROM trial_intermediate_values v WHERE v.trial_id = t.trial_id),
        (SELECT json_object_agg(param_name, param_value) FROM trial_params p
            WHERE p.trial_id = t.trial_id),
        {_ATTRS.format("trial_user_attributes")}, {_ATTRS.format("trial_system_attributes")},
        md5(t::text || (SELECT coalesce(string_agg(line, ' ' ORDER BY line), '') FROM ({_ALL}) x))
    FROM trials t WHERE t.study_id = :study ORDER BY t.number
"""  # noqa: S608


@dataclass(frozen=True)
class TrialRow:
    """A trial as the database has it; `digest` is of all of its rows."""

    trial_id: int
    number: int
    state: TrialState
    n_values: int
    params: Mapping[str, float]
    user_attrs: Mapping[str, Any]
    system_attrs: Mapping[str, Any]
    digest: str

    @property
    def owner(self) -> Owner:
        """Who ran it last."""
        return Owner(self.user_attrs.get("worker", ""), self.user_attrs.get("driver"))

    @property
    def failure(self) -> Failure | None:
        """How it failed, if it did."""
        return failure_of(self.user_attrs)

    @property
    def origin(self) -> int:
        """The number of the trial that it repeats, or its own."""
        return int(self.user_attrs.get(RETRY_OF, self.number))

    @property
    def predecessor(self) -> int | None:
        """The id of the trial that it runs again, if it does."""
        return next(iter(self.system_attrs.get(CHECKPOINTS, ())), None)

    @property
    def n_losses(self) -> int:
        """How often it was lost before."""
        return int(self.system_attrs.get(LOSSES, 0))


def read_rows(database: Database, study_id: int) -> list[TrialRow]:
    """Return a study's trials in the order of their numbers."""
    return [
        TrialRow(
            trial_id,
            number,
            TrialState[state],
            n_values,
            params or {},
            _loaded(user_attrs),
            _loaded(system_attrs),
            digest,
        )
        for trial_id, number, state, n_values, params, user_attrs, system_attrs, digest in (
            database.execute(_QUERY, study=study_id)
        )
    ]


def _loaded(attrs: Mapping[str, str] | None) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in (attrs or {}).items()}
