"""The line of a simulated process to the database, on which faults happen as they are planned."""

from collections.abc import Callable
from enum import Enum
from typing import Any

import psycopg2
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from shared.study.tables.storage import open_storage


class Died(BaseException):
    """The end of a simulated process in the midst of what it did."""


class Line:
    """A simulated process's line to the database; what is planned for it happens once."""

    def __init__(self, url: str) -> None:
        """Connect, as real processes do."""
        self.storage = open_storage(url)
        self.is_down: Callable[[], bool] = lambda: False
        self._at_commit: tuple[int, Callable[[Connection], None]] | None = None
        self._at_statement: tuple[int, Callable[[], None]] | None = None
        event.listen(self.storage.engine, "begin", self._begin)
        event.listen(self.storage.engine, "commit", self._commit)
        event.listen(self.storage.engine, "before_cursor_execute", self._execute)

    def plan_commit(self, after: int, work: Callable[[Connection], None]) -> None:
        """Have something happen before a COMMIT, or instead, after so many that go well."""
        self._at_commit = (after, work)

    def plan_statement(self, after: int, work: Callable[[], None]) -> None:
        """Have something happen before a statement, after so many without."""
        self._at_statement = (after, work)

    def clear(self) -> None:
        """Plan nothing any more."""
        self._at_commit = self._at_statement = None

    def _begin(self, _connection: Connection) -> None:
        if self.is_down():
            raise outage()

    def _commit(self, connection: Connection) -> None:
        if self._at_commit is not None:
            after, work = self._at_commit
            self._at_commit = (after - 1, work) if after else None
            if not after:
                work(connection)

    def _execute(self, *_: Any) -> None:
        if self._at_statement is not None:
            after, work = self._at_statement
            self._at_statement = (after - 1, work) if after else None
            if not after:
                work()


class Trouble(Enum):
    """What may happen instead of a COMMIT."""

    LOST_BEFORE = "the connection is lost before it"
    LOST_AFTER = "the connection is lost before its answer"
    DEATH_BEFORE = "the process dies before it"
    DEATH_AFTER = "the process dies after it"

    def strike(self, connection: Connection) -> None:
        """Happen."""
        if self in {Trouble.LOST_AFTER, Trouble.DEATH_AFTER}:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            raw.commit()
        raise Died if self in {Trouble.DEATH_BEFORE, Trouble.DEATH_AFTER} else outage()


def outage() -> OperationalError:
    """Return what SQLAlchemy raises when the connection is lost."""
    lost = psycopg2.OperationalError("server closed the connection unexpectedly")
    return OperationalError("COMMIT", {}, lost)
