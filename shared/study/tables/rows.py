"""Update and insert rows of Optuna's tables, many a round trip.

The rows are numbered by counters of four bytes. An upsert of PostgreSQL's own takes a number before
it finds that the row is there; so what is there is updated, and only what is missing is inserted.
"""

import json
from collections.abc import Sequence
from enum import Enum
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    String,
    Subquery,
    Text,
    bindparam,
    cast,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import TypeEngine


def write_attrs(connection: Connection, model: Any, attrs: Sequence[tuple[int, str, Any]]) -> None:
    """Write attributes of trials; of several values for a key, the last one stays."""
    if not attrs:
        return
    last = {(trial_id, key): value for trial_id, key, value in attrs}
    rows = [(*trial_and_key, json.dumps(value)) for trial_and_key, value in last.items()]
    columns = ("trial_id", "key", "value_json")
    new = _rows(model, columns, rows)
    present = (
        update(model)
        .where(model.trial_id == new.c.trial_id, model.key == new.c.key)
        .values(value_json=new.c.value_json)
        .execution_options(synchronize_session=False)
    )
    connection.execute(present)
    insert_missing(connection, model, columns, rows)


def insert_missing(
    connection: Connection, model: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert the rows that are not there, in order; the first two columns tell one from another.

    Where another transaction inserts the same row meanwhile, it is left to that one.
    """
    if not rows:
        return
    table, new = model.__table__, _rows(model, columns, rows)
    is_there = select(table.c[columns[0]]).where(*(table.c[k] == new.c[k] for k in columns[:2]))
    values = (new.c[name] for name in columns)
    missing = select(*values).where(~is_there.exists()).order_by(new.c.position)
    statement = insert(model).from_select(list(columns), missing).on_conflict_do_nothing()
    connection.execute(statement)


def _rows(model: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Subquery:
    """Return rows as a table, one parameter a column: psycopg2 sends an upsert's one by one."""
    table = model.__table__
    types = [table.c[name].type for name in columns]
    plain = unnested(columns, [_array_type(type_) for type_ in types], rows)
    typed = (
        cast(plain.c[name], type_).label(name) for name, type_ in zip(columns, types, strict=True)
    )
    return select(*typed, plain.c.position).subquery("new")


def unnested(columns: Sequence[str], types: Sequence[Any], rows: Sequence[Sequence[Any]]) -> Any:
    """Return rows of PostgreSQL's types as a table with their position, one parameter a column."""
    arrays = [
        bindparam(None, [_plain(value) for value in values], ARRAY(type_))
        for type_, values in zip(types, zip(*rows, strict=True), strict=True)
    ]
    return func.unnest(*arrays).table_valued(*columns, with_ordinality="position").render_derived()


def _array_type(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    return Text() if isinstance(type_, String) else type_


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, Enum) else value
