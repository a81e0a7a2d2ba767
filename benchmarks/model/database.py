"""Have a real database whose clock is the simulation's."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from benchmarks.model.line import Line

N_LINES = 7
NAME = "model"
EPOCH_S = 1_800_000_000
"""What the database's clock says when a simulation begins."""
LOCK_S = 0.005
"""How long a statement waits for a lock; who holds it only goes on after that."""
CLOCK = (
    "CREATE SCHEMA simulated",
    "CREATE SEQUENCE simulated.clock",
    # A microsecond later at each look, as no two looks at a real clock are the same.
    (
        "CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE"
        " AS $$ SELECT to_timestamp(nextval('simulated.clock') / 1e6) $$"
    ),
    # A function is PostgreSQL's own unless another schema is named before its.
    f"ALTER DATABASE {NAME} SET search_path = public, simulated, pg_catalog",
    f"ALTER DATABASE {NAME} SET synchronous_commit = off",
)


class Database:
    """The database of simulations, one after the other, and lines for as many processes."""

    def __init__(self, url: str) -> None:
        """Connect for all simulations to come: that takes longer than to simulate."""
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=False)
        self._connection = self._engine.connect()
        for statement in CLOCK:
            self._connection.execute(text(statement))
        self.lines = [Line(url) for _ in range(N_LINES)]
        self.n_studies = 0

    def execute(self, statement: str, **values: Any) -> Any:
        """Run a statement on which no fault happens."""
        return self._connection.execute(text(statement), values)

    def set_clock(self, now_s: float) -> None:
        """Have the clock say so many seconds since the simulation began."""
        self.execute("SELECT setval('simulated.clock', :us)", us=round(1e6 * (EPOCH_S + now_s)))

    def close(self) -> None:
        """Disconnect."""
        for line in self.lines:
            line.storage.remove_session()
            line.storage.engine.dispose()
        self._connection.close()
        self._engine.dispose()


@contextmanager
def simulated_database(server_url: str) -> Iterator[Database]:
    """Yield a fresh database on a server, in which this process is many that never really wait."""
    own_url = make_url(server_url).set(database=NAME).render_as_string(hide_password=False)
    server = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {NAME}"))
    server.dispose()
    with ExitStack() as stack:
        # Processes do not share the turn that is for the threads of one.
        stack.enter_context(patch("shared.study.liveness._TURN", nullcontext()))
        stack.enter_context(patch("shared.study.patience.FIRST_WAIT_S", 0.0))
        stack.enter_context(patch("shared.study.tables.study_storage.MAX_LOCK_S", LOCK_S))
        database = Database(own_url)
        stack.callback(database.close)
        yield database
