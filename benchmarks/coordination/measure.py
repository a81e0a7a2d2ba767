"""Sum up a contest: what trials cost, how fast values were reported, and whether any was lost."""

from typing import Any

import numpy as np

from benchmarks.coordination.contest import run_contest
from benchmarks.coordination.task import Measured, Task, count, fill
from shared.study.tables.storage import opened_storage


def measure(contender: str, task: Task, n_finished: int, n_trials: int) -> dict[str, Any]:
    """Fill a contender's study, let its workers spend the budget, and sum up what they measured."""
    with opened_storage(task.url) as storage:
        fill(storage, task, n_finished)
    measured = run_contest(contender, task)
    with opened_storage(task.url) as storage:
        counts = count(storage, task)
    asks_s = [ask_s for one in measured for ask_s in one.asks]
    firsts_s = {
        "first_ask_p99_ms": [ask_s for one in measured for ask_s in one.first_asks],
        "first_trial_p99_ms": [trial_s for one in measured for trial_s in one.first_trials],
    }
    wall_s = max(m.ended for m in measured) - min(m.started for m in measured)
    return {
        "trials": counts["finished"] - n_finished,
        "budget_exact": counts["finished"] - n_finished == n_trials,
        "ms_per_trial": round(1e3 * wall_s * task.n_workers / n_trials, 1),
        "cpu_ms_per_trial": round(1e3 * sum(m.cpu_s for m in measured) / n_trials, 1),
        "trials_per_s": round(n_trials / wall_s, 1),
        "reports_per_s": round(_rate(measured)),
        "ask_p50_ms": _percentile_ms(asks_s, 50),
        "ask_p99_ms": _percentile_ms(asks_s, 99),
        **{key: _percentile_ms(spans_s, 99) for key, spans_s in firsts_s.items() if spans_s},
        "lost": counts["lost"],
        "doubled": counts["doubled"],
    }


def _percentile_ms(spans_s: list[float], percentile: float) -> float:
    return round(1e3 * float(np.percentile(spans_s, percentile)), 1)


def _rate(measured: list[Measured]) -> float:
    """Return the values a second that all workers report at a time, while they report."""
    return sum(m.n_values / m.report_s for m in measured)
