"""Hear the signals that ask a command to leave in order."""

import signal
from collections.abc import Callable
from typing import Any

LEAVE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a machine that goes down, a terminal that is gone."""


def on_leaving(handler: Callable[..., Any]) -> None:
    """Have a handler called on each signal to leave but those that are ignored, as by `nohup`."""
    for number in LEAVE:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
