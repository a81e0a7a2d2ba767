"""Lock a study's row, and read and write what it says of itself, within a transaction."""

import json
import random
from collections.abc import Mapping
from typing import Any

from optuna.storages._rdb.models import (
    StudyModel,
    StudySystemAttributeModel,
    StudyUserAttributeModel,
)
from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

READING = 0x7461_6777
"""The class of the advisory locks in PostgreSQL of those who read whole studies."""
N_READERS = 2
"""How many read at a time. 256 workers that start at once on two cores, all reading together, have
the last first trial after 33 s; four at a time after 23 s, two after 21 s."""


def lock_study(connection: Connection, study_id: int) -> None:
    """Keep all others, Optuna's API among them, from creating trials until the transaction ends."""
    study = select(StudyModel.study_id).where(StudyModel.study_id == study_id)
    connection.execute(study.with_for_update(key_share=True))


def wait_to_read(connection: Connection) -> None:
    """Wait until few others read whole studies, which takes longer for all the more there are.

    The turn lasts until the transaction ends.
    """
    # The wait is as long as the line, which is bounded by how long a transaction may do nothing.
    connection.execute(select(func.set_config("lock_timeout", "0", True)))
    line = random.randrange(N_READERS)  # noqa: S311  no secret
    connection.execute(select(func.pg_advisory_xact_lock(READING, line)))


def read_user_attr(connection: Connection, study_id: int, key: str) -> Any:
    """Return a user attribute of a study, None where it has none."""
    return _read(connection, StudyUserAttributeModel, study_id, key)


def read_system_attr(connection: Connection, study_id: int, key: str) -> Any:
    """Return a system attribute of a study, None where it has none."""
    return _read(connection, StudySystemAttributeModel, study_id, key)


def write_user_attrs(connection: Connection, study_id: int, attrs: Mapping[str, Any]) -> None:
    """Write user attributes of a study, which is locked or known to no other."""
    model = StudyUserAttributeModel
    for key, value in attrs.items():
        is_it = (model.study_id == study_id, model.key == key)
        written = update(model).where(*is_it).values(value_json=json.dumps(value))
        if not connection.execute(written).rowcount:
            row = {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
            connection.execute(insert(model).values(row))


def swap_system_attr(connection: Connection, study_id: int, key: str, old: Any, new: Any) -> bool:
    """Replace a system attribute of a study; return False where it is no longer the old one."""
    model = StudySystemAttributeModel
    if old is None:
        row = {"study_id": study_id, "key": key, "value_json": json.dumps(new)}
        return bool(connection.execute(insert(model).values(row).on_conflict_do_nothing()).rowcount)
    is_old = (model.study_id == study_id, model.key == key, model.value_json == json.dumps(old))
    swapped = update(model).where(*is_old).values(value_json=json.dumps(new))
    return bool(connection.execute(swapped).rowcount)


def _read(connection: Connection, model: Any, study_id: int, key: str) -> Any:
    value = connection.scalar(
        select(model.value_json).where(model.study_id == study_id, model.key == key)
    )
    return None if value is None else json.loads(value)
