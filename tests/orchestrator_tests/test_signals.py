import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from orchestrator.signals import LEAVE, on_leaving


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in LEAVE}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_each_signal_to_leave_is_heard() -> None:
    heard: list[int] = []

    def hear(number: int, _frame: FrameType | None) -> None:
        heard.append(number)

    on_leaving(hear)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    assert heard == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    on_leaving(signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
