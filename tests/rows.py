"""Count what is read from a database: what is bounded is bounded whatever the machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages import RDBStorage
from sqlalchemy import event


@contextmanager
def rows_read(storage: RDBStorage) -> Iterator[list[int]]:
    """Yield a list that gets the number of rows of each statement while the block lasts."""
    counts: list[int] = []

    def note(_connection: Any, cursor: Any, *_: Any) -> None:
        counts.append(cursor.rowcount)

    event.listen(storage.engine, "after_cursor_execute", note)
    try:
        yield counts
    finally:
        event.remove(storage.engine, "after_cursor_execute", note)


@contextmanager
def statements_of(storage: RDBStorage) -> Iterator[list[str]]:
    """Yield a list that gets each statement while the block lasts."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(storage.engine, "after_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(storage.engine, "after_cursor_execute", note)
