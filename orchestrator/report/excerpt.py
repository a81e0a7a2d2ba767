"""Choose of a study what can be drawn: trials, few enough, with one objective's values."""

from collections.abc import Sequence
from copy import copy

import numpy as np
import optuna
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from shared.config.sections import Objective
from shared.study.objectives import direction_of


def completed(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return those of the trials that are complete."""
    return [trial for trial in trials if trial.state is TrialState.COMPLETE]


def of_objective(trials: Sequence[FrozenTrial], i: int) -> list[FrozenTrial]:
    """Return the trials as a study of its i-th objective alone would have them."""
    return [_with_value(trial, i) for trial in trials]


def _with_value(trial: FrozenTrial, i: int) -> FrozenTrial:
    if trial.values is None:
        return trial
    alone = copy(trial)
    alone.values = trial.values[i : i + 1]
    return alone


def chosen(complete: Sequence[FrozenTrial], n: int, objective: Objective) -> list[FrozenTrial]:
    """Choose about `n` of the trials: the best half, each that was the best in its time, others.

    The trials have values of the objective alone. The others are spaced evenly. All are in their
    order.
    """
    if len(complete) <= n:
        return list(complete)
    sign = 1 if direction_of(objective) is StudyDirection.MINIMIZE else -1
    values = sign * np.array([trial.value for trial in complete], dtype=float)
    best = np.argsort(values, kind="stable")[: n // 2]
    records = np.flatnonzero(values == np.minimum.accumulate(values))[: n // 4]
    others = np.linspace(0, len(complete) - 1, n // 2).round().astype(np.int64)
    return [complete[i] for i in np.unique(np.concatenate([best, records, others]))]


def stand_in(
    trials: Sequence[FrozenTrial], shown: Sequence[FrozenTrial], objectives: Sequence[Objective]
) -> Study:
    """Return a study of the trials to be shown; failed ones keep the others' numbers."""
    by_number = {trial.number: trial for trial in shown}
    study = optuna.create_study(directions=[direction_of(objective) for objective in objectives])
    failed = create_trial(state=TrialState.FAIL)
    study.add_trials(by_number.get(trial.number, failed) for trial in trials)
    return study
