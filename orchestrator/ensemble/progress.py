"""Tell, on the terminal and in the study, how far the making of its ensemble is."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from shared.study.attributes import ENSEMBLE

WRITE_EVERY_S = 2.0
"""How often the study is told of epochs at most."""


class Work(StrEnum):
    """What is done for an ensemble, one after the other."""

    MEMBERS = "training its members"
    KERNEL = "fitting the kernel machine"
    RESULT = "measuring it, and writing bundle and report"


@dataclass(frozen=True)
class EnsembleProgress:
    """How far the making of an ensemble is.

    `trial`, `fold` and `epoch`, from 0, are those of the member that was trained last, None before
    any. `seconds_left` is what the members still need, None while that is unknown.
    """

    work: Work
    n_members: int
    n_done: int = 0
    trial: int | None = None
    fold: int | None = None
    epoch: int | None = None
    seconds_left: float | None = None


def read_ensemble_progress(attrs: Mapping[str, Any]) -> EnsembleProgress | None:
    """Return what a study's user attributes say of its ensemble, None when they say nothing."""
    if ENSEMBLE not in attrs:
        return None
    values = dict(attrs[ENSEMBLE])
    return EnsembleProgress(Work(values.pop("work")), **values)


def describe_ensemble_progress(progress: EnsembleProgress) -> str:
    """Say in some words how far an ensemble is."""
    if progress.work is not Work.MEMBERS:
        return progress.work.value
    done = f"{progress.work.value}, {progress.n_done} of {progress.n_members} done"
    if progress.epoch is None:
        return done
    return f"{done}, trial {progress.trial}, fold {progress.fold}, epoch {progress.epoch + 1}"


def foresee(
    epochs: Mapping[tuple[int, int], int], expected: Mapping[int, int], n_left: int, pace: float
) -> float:
    """Return how many seconds `n_left` members need, at `pace` epochs a second.

    `epochs` are those so far of the members under way, by trial and fold; `expected` those that
    each trial took itself: its members are like it.
    """
    under_way = sum(max(1, expected[trial] - n) for (trial, _), n in epochs.items())
    usual = sum(expected.values()) / len(expected)
    return (under_way + usual * max(0, n_left - len(epochs))) / pace


class EnsembleReporter:
    """What is known of an ensemble that is made, for who makes it and for who watches the study."""

    def __init__(self, study: Study, trials: Sequence[FrozenTrial], n_folds: int) -> None:
        """Say that members of some trials are about to be trained."""
        self._study = study
        self._expected = {trial.number: len(trial.intermediate_values) for trial in trials}
        self._epochs: dict[tuple[int, int], int] = {}
        self._n_epochs, self._started_s = 0, time.monotonic()
        self._now = EnsembleProgress(Work.MEMBERS, len(trials) * n_folds)
        self._write()

    def begin(self, work: Work) -> None:
        """Say what is done now that all members are trained."""
        n_members = self._now.n_members
        self._now = EnsembleProgress(work, n_members, n_members)
        self._write()

    def follow_epoch(self, n_done: int, trial: int, fold: int, step: int) -> str:
        """Take in that a member has been trained for one more epoch; return what to say of it."""
        self._epochs[trial, fold] = step + 1
        self._n_epochs += 1
        pace = self._n_epochs / (time.monotonic() - self._started_s)
        n_left = self._now.n_members - n_done
        left_s = foresee(self._epochs, self._expected, n_left, pace)
        self._now = replace(
            self._now, n_done=n_done, trial=trial, fold=fold, epoch=step, seconds_left=left_s
        )
        if time.monotonic() - self._written_s >= WRITE_EVERY_S:
            self._write()
        return f"trial {trial}, fold {fold}, epoch {step + 1}, about {left_s:.0f} s left"

    def follow_member(self, trial: int, fold: int) -> None:
        """Take in that a member has been trained."""
        self._epochs.pop((trial, fold), None)

    def _write(self) -> None:
        self._study.set_user_attr(ENSEMBLE, asdict(self._now))
        self._written_s = time.monotonic()
