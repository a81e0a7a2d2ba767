"""Count what there must be after a search, and what there must not be."""

from collections import Counter
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from benchmarks.chaos.sightings import Sightings
from shared.study.attributes import (
    CHECKPOINTS,
    PROCESS,
    RESUMED_AT,
    RETRY_OF,
    FailureKind,
    failure_of,
)

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
NONE = ("running", "waiting", "lost", "doubled", "unlinked", "falsely_reaped", "orphans")
"""What must be 0."""
MAX_RETRAINED_SHARE = 0.05


def examine(study: Study, sightings: Sightings, grace_s: float) -> dict[str, Any]:
    """Count trials and epochs of a study whose search is over."""
    trials = study.trials
    states = Counter(trial.state for trial in trials)
    numbers = Counter(trial.number for trial in trials)
    origins = Counter(_origin(trial) for trial in trials if trial.state in FINISHED)
    lost = [trial for trial in trials if _kind(trial) is FailureKind.LOST]
    complete = [t.value for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    trained, twice = count_epochs(trials)
    return {
        "finished": sum(states[state] for state in FINISHED),
        "failed": states[TrialState.FAIL],
        "handed_back": sum(_kind(trial) is FailureKind.HANDED_BACK for trial in trials),
        "reaped": len(lost),
        "running": states[TrialState.RUNNING],
        "waiting": states[TrialState.WAITING],
        "lost": len(set(range(len(trials))) - set(numbers)),
        "doubled": sum(n - 1 for n in (*numbers.values(), *origins.values())),
        "unlinked": count_unlinked(trials),
        "falsely_reaped": sum(was_alive(trial, sightings, grace_s) for trial in lost),
        "epochs": trained,
        "retrained_epochs_share": round(twice / trained, 4),
        "best_consistent": study.best_value == min(complete),
    }


def was_alive(trial: FrozenTrial, sightings: Sightings, grace_s: float) -> bool:
    """Say whether a trial's worker was alive for the whole grace until the trial was failed.

    If the database was away meanwhile, nobody could know that it was dead.
    """
    assert trial.datetime_complete is not None
    end_s = trial.datetime_complete.timestamp()
    return sightings.was_alive(trial.user_attrs[PROCESS], end_s - grace_s, end_s)


def count_unlinked(trials: list[FrozenTrial]) -> int:
    """Count the trials that were given up and that no other one repeats."""
    again = {t.system_attrs[CHECKPOINTS][0] for t in trials if CHECKPOINTS in t.system_attrs}
    given_up = (FailureKind.LOST, FailureKind.HANDED_BACK)
    return sum(_kind(trial) in given_up and trial._trial_id not in again for trial in trials)


def count_epochs(trials: list[FrozenTrial]) -> tuple[int, int]:
    """Count the epochs that were trained, and those of them that had been trained before.

    A checkpoint may know more epochs of a trial than were reported when its worker was killed;
    epochs that neither knows are not counted.
    """
    trained = twice = 0
    known: Counter[int] = Counter()
    for trial in sorted(trials, key=lambda trial: trial.number):
        origin = _origin(trial)
        first, end = trial.user_attrs.get(RESUMED_AT, 0), len(trial.intermediate_values)
        trained += end - first + max(0, first - known[origin])
        twice += max(0, min(end, known[origin]) - first)
        known[origin] = max(known[origin], end)
    return trained, twice


def _origin(trial: FrozenTrial) -> int:
    origin: int = trial.user_attrs.get(RETRY_OF, trial.number)
    return origin


def _kind(trial: FrozenTrial) -> FailureKind | None:
    failure = failure_of(trial.user_attrs)
    return None if failure is None else failure.kind
