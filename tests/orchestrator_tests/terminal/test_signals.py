import subprocess
import sys

HEAR = """
import os, signal
from orchestrator.terminal.signals import on_leaving
heard = []
{before}
on_leaving(lambda number, _frame: heard.append(signal.Signals(number).name))
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    os.kill(os.getpid(), number)
print(*heard)
"""
"""Run in a process of its own: libraries that other tests load have their own use of signals."""


def _heard(before: str = "") -> list[str]:
    code = HEAR.format(before=before)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_each_signal_to_leave_is_heard() -> None:
    assert _heard() == ["SIGINT", "SIGTERM", "SIGHUP"]


def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    assert _heard("signal.signal(signal.SIGHUP, signal.SIG_IGN)") == ["SIGINT", "SIGTERM"]
