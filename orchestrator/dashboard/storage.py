"""Give optuna-dashboard what it can draw of a study with thousands of trials.

It draws one line for each trial's intermediate values, and all of them before it shows anything
new: 5,000 lines take a browser 17 seconds (`benchmarks/dashboard.py`), and nobody can tell one from
the other. All else that it shows of a trial is cheap.
"""

from collections.abc import Container, Sequence
from copy import copy
from copy import deepcopy as copy_of

from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

MAX_CURVES = 200
"""Trials of a study whose intermediate values are shown: the best half, the latest, all running."""


class DashboardStorage(_CachedStorage):
    """Be Optuna's cache of a storage, in which no more than some trials have intermediate values.

    What has been read of finished trials is kept: optuna-dashboard reads all of a study at once.
    """

    def __init__(self, storage: RDBStorage) -> None:
        """Take the storage to read."""
        super().__init__(storage)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return a study's trials in the order of their numbers."""
        trials = super().get_all_trials(study_id, deepcopy=False, states=states)
        shown = with_fewer_curves(trials, self.get_study_directions(study_id)[0])
        return copy_of(shown) if deepcopy else shown


def with_fewer_curves(
    trials: Sequence[FrozenTrial], direction: StudyDirection
) -> list[FrozenTrial]:
    """Return the trials, those that are not to be drawn as copies without intermediate values."""
    finished = [trial for trial in trials if trial.state.is_finished()]
    if len(finished) <= MAX_CURVES:
        return list(trials)
    sign = -1 if direction is StudyDirection.MAXIMIZE else 1
    complete = [trial for trial in finished if trial.state is TrialState.COMPLETE]
    complete.sort(key=lambda trial: sign * trial.values[0])
    drawn = {trial.number for trial in complete[: MAX_CURVES // 2]}
    drawn |= {trial.number for trial in finished[-MAX_CURVES // 2 :]}
    return [
        _without_curve(trial) if trial.state.is_finished() and trial.number not in drawn else trial
        for trial in trials
    ]


def _without_curve(trial: FrozenTrial) -> FrozenTrial:
    bare = copy(trial)
    bare.intermediate_values = {}
    return bare
