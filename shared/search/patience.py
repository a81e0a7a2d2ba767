"""Outlast a database that is away for a while."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.errors import TagsweepError

MAX_OUTAGE_S = 300.0
"""How long a database may be away before a process gives up."""
FIRST_WAIT_S = 0.1
MAX_WAIT_S = 10.0

# The third is what Optuna meets when it goes on in a session whose connection has just been lost.
_OUTAGES = (OperationalError, InterfaceError, PendingRollbackError, PoolTimeoutError)

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def patiently(
    work: Callable[[], Result],
    closing: threading.Event | None = None,
    max_outage_s: float = MAX_OUTAGE_S,
    on_outage: Callable[[str | None], None] = lambda _reason: None,
) -> Result:
    """Return what `work` returns, tried again while the database cannot be reached.

    The waits double, with jitter, so that workers do not come back all at once (Brooker 2015,
    "Exponential backoff and jitter", AWS architecture blog). `work` must bear to be repeated:
    what it did may have been done although the answer was lost. `on_outage` is called with the
    reason when an outage begins, and with None when it is over. Raises TagsweepError after
    `max_outage_s` seconds, or sooner when `closing` is set.
    """
    started, wait_s, is_away = time.monotonic(), FIRST_WAIT_S, False
    closing = closing or threading.Event()
    while True:
        try:
            result = work()
        except Exception as error:
            if not is_outage(error):
                raise
            waited_s = time.monotonic() - started
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            if waited_s > max_outage_s or closing.is_set():
                raise TagsweepError(
                    f"The database could not be used for {waited_s:.0f} s: {reason}."
                    " Check that it runs, then run the same command again to go on."
                ) from error
            logger.warning("The database cannot be used, trying again: %s", reason)
            if not is_away:
                on_outage(reason)
            is_away = True
        else:
            if is_away:
                on_outage(None)
            return result
        closing.wait(wait_s * random.uniform(0.5, 1.0))  # noqa: S311  no secret
        wait_s = min(2 * wait_s, MAX_WAIT_S)


def is_outage(error: BaseException | None) -> bool:
    """Say whether an error, or what caused it, is the database's being away, full or busy."""
    while error is not None:
        if isinstance(error, _OUTAGES):
            return True
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return True
        error = error.__cause__
    return False
