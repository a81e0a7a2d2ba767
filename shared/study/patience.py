"""Outlast a database that is away, full, read-only or busy for a while."""

import logging
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.errors import TagsweepError

MAX_OUTAGE_S = 300.0
"""How long a database may be away before a process gives up."""
FIRST_WAIT_S = 0.1
MAX_WAIT_S = 10.0

_OUTAGE_CLASSES = ("08", "40", "53", "57", "58")
"""Connections, lost races, resources, operators, the system (PostgreSQL's manual, appendix A)."""
_OUTAGE_CODES = (
    "25006",  # read-only: a failover to a standby, or a managed server whose disk is full
    "25P03",  # the server ended a transaction that was idle for too long: this process was frozen
    "55P03",  # somebody else has held a lock for too long
)
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|permission denied"
    r'|(role|user|database) "[^"]*" (does not exist|is not permitted)|unrecognized configuration'
    r"|could not translate host name|certificate|SSL"
)
"""What a server, or libpq, answers to who will never be let in: libpq tells no SQLSTATE of a
connection that it could not make, only words. A server that speaks another language is waited for.
"""

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long a process waits for its database, and whom it tells.

    `on_outage` is called with the reason when an outage begins, and with None when it is over.
    """

    max_outage_s: float = MAX_OUTAGE_S
    on_outage: Callable[[str | None], None] = lambda _reason: None


def patiently(
    work: Callable[[], Result],
    closing: threading.Event | None = None,
    patience: Patience = Patience(),
) -> Result:
    """Return what `work` returns, tried again while the database cannot be used.

    The waits double, with jitter, so that workers do not come back all at once (Brooker 2015,
    "Exponential backoff and jitter", AWS architecture blog). `work` must bear to be repeated:
    what it did may have been done although the answer was lost. Raises TagsweepError after the
    longest outage, or sooner when `closing` is set.
    """
    started, wait_s, is_away = time.monotonic(), FIRST_WAIT_S, False
    closing = closing or threading.Event()
    while True:
        try:
            result = work()
        except Exception as error:
            if not is_outage(error):
                raise
            waited_s, reason = time.monotonic() - started, reason_of(error)
            if waited_s >= patience.max_outage_s or closing.is_set():
                raise OutageError(
                    f"The database could not be used for {waited_s:.0f} s: {reason}."
                    " Check that it runs, then run the same command again to go on."
                ) from error
            logger.warning("The database cannot be used, trying again: %s", reason)
            if not is_away:
                patience.on_outage(reason)
            is_away = True
        else:
            if is_away:
                patience.on_outage(None)
            return result
        closing.wait(wait_s * random.uniform(0.5, 1.0))  # noqa: S311  no secret
        wait_s = min(2 * wait_s, MAX_WAIT_S)


class OutageError(TagsweepError):
    """An outage of the database that lasted longer than whoever met it could wait."""


def is_outage(error: BaseException | None) -> bool:
    """Say whether an error, or what caused it, is the database's being away, full or busy.

    What no time mends is none: a wrong password, a database that does not exist.
    """
    while error is not None:
        # The first is what Optuna meets in a session whose connection has just been lost.
        if isinstance(error, PendingRollbackError | PoolTimeoutError | OutageError):
            return True
        if isinstance(error, DBAPIError):
            return _is_outage_of_server(error)
        error = error.__cause__
    return False


def reason_of(error: BaseException) -> str:
    """Return the first line of what the database, or the way to it, had to say."""
    return str(error.__cause__ or error).strip().splitlines()[0]


def _is_outage_of_server(error: DBAPIError) -> bool:
    code = getattr(error.orig, "pgcode", None)
    if code is not None:
        return code in _OUTAGE_CODES or code[:2] in _OUTAGE_CLASSES
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return _REFUSED.search(str(error.orig)) is None
    return False
