"""Define the task that all contenders are given, and fill studies for it."""

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from sqlalchemy import text

from shared.config.sweep import SweepConfig, with_values
from shared.study.sampler.history import History
from shared.study.space import suggest
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.trials import begin_trials
from shared.study.tables.write import Ended, Report, write_params, write_reports

N_INPUTS = 384
WIDTHS = {"encoder": N_INPUTS}
BATCH = 500


@dataclass(frozen=True)
class Task:
    """Say what is to be done; no checkpoints are written, since there is nothing to keep."""

    url: str
    study: str
    n_trials: int
    n_workers: int
    n_slots: int
    n_steps: int
    step_s: float
    join_s: float = 0.0

    @property
    def config(self) -> SweepConfig:
        """The sweep: nothing is pruned before its last step, so that every trial costs the same."""
        warmup = {"n_warmup_steps": self.n_steps - 1}
        study = {"n_trials": self.n_trials, "pruner": warmup}
        workers = {"pack": self.n_slots, "checkpoint_interval_s": 1e6}
        return with_values(SweepConfig(), {"study": study, "workers": workers})


@dataclass
class Measured:
    """Hold what the workers of one process measured: seconds, but for the counts.

    `first_asks` are those of `asks` that were the first of their worker, `first_trials` how long
    after the start of all it had its first trial, where these are told apart.
    """

    asks: list[float] = field(default_factory=list)
    first_asks: list[float] = field(default_factory=list)
    first_trials: list[float] = field(default_factory=list)
    n_values: int = 0
    report_s: float = 0.0
    cpu_s: float = 0.0
    started: float = 0.0
    ended: float = 0.0


def value_of(number: int, step: int) -> float:
    """Return the validation loss that a simulated training comes to."""
    return float(1 / (step + 2) + np.random.default_rng([number, step]).random() / 100)


def fill(storage: StudyStorage, task: Task, n_finished: int) -> None:
    """Open the study, and write finished trials into it, a third of them pruned."""
    study = open_study(storage, task.study, task.config, "fingerprint")
    history = History(study, RandomSampler(seed=0))
    for first in range(0, n_finished, BATCH):
        n = min(BATCH, n_finished - first)
        before = Counter({TrialState.COMPLETE: first})
        with storage.transaction() as connection:
            begun = begin_trials(connection, study._study_id, n, before, {}, "fill")
        params, reports = {}, []
        for one in begun:
            suggest(history.begin(one), task.config.space, WIDTHS)
            params[one.trial_id] = history.end_of_asking(one.trial_id)
            values = {step: value_of(one.number, step) for step in range(task.n_steps)}
            state = TrialState.COMPLETE if one.number % 3 else TrialState.PRUNED
            end = Ended(state, (min(values.values()),))
            reports.append(Report(one.trial_id, values, {}, end))
        with storage.transaction() as connection:
            write_params(connection, params)
            write_reports(connection, reports)
    with storage.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))


def count(storage: StudyStorage, task: Task) -> dict[str, int]:
    """Count the finished trials, their values that are lost, and numbers that came twice."""
    trials = optuna.load_study(study_name=task.study, storage=storage).get_trials(deepcopy=False)
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    finished = [trial for trial in trials if trial.state in states]
    n_values = sum(len(trial.intermediate_values) for trial in finished)
    return {
        "finished": len(finished),
        "lost": len(finished) * task.n_steps - n_values,
        "doubled": len(trials) - len({trial.number for trial in trials}),
    }


def now() -> float:
    """Return the time by a clock that all processes of a machine share."""
    return time.monotonic()
