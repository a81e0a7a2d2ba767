"""Show the sampler what it needs of a study, kept in memory and read once."""

from collections.abc import Container, Iterable, Sequence
from copy import deepcopy as copy_of
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from shared.search.bulk_read import (
    Changes,
    Params,
    id_of,
    read_intermediate_values,
    read_params,
    read_values,
)
from shared.search.bulk_trials import Begun

KEPT_BEST = 25
"""As many finished trials as TPE takes for good ones at most (`optuna.samplers._tpe`)."""
KEPT_LATEST = 1000
"""So many of the others, the latest: TPE's weights fade with age, its cost does not."""
SLACK = 100
"""By how much the others may outnumber `KEPT_LATEST` before the oldest are let go of."""

Array = npt.NDArray[np.float64]
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class History(InMemoryStorage):
    """Be the storage of a study in memory that follows one in PostgreSQL, for one thread's sampler.

    It holds the best and the latest finished trials, and the running ones with their parameters: of
    a study of up to a thousand trials, all that TPE looks at. What the sampler writes stays here.
    """

    def __init__(self, study: Study, sampler: BaseSampler) -> None:
        """Know of no trial yet."""
        super().__init__()
        self.create_new_study(study.directions, study.study_name)
        self.study = optuna.load_study(study_name=study.study_name, storage=self, sampler=sampler)
        self._changes = Changes(id_of(study))
        self._finished: dict[int, FrozenTrial] = {}
        self._running: dict[int, FrozenTrial] = {}
        self._ordered: list[FrozenTrial] | None = None
        self._internal: dict[int, dict[str, float]] = {}
        # TPE ranks pruned trials by what they reported: losses, also where the value is maximised.
        self._sign = 1 if study.directions[0] is StudyDirection.MINIMIZE else -1
        self.n_changes = 0
        """How many trials have finished or got parameters so far."""

    def refresh(self, storage: RDBStorage) -> None:
        """Take in what is new in the study; may be repeated when it failed."""
        with storage.engine.begin() as connection:
            rows = self._changes.read(connection)
            ended = {row.trial_id for row in rows if row.state in _FINISHED}
            pruned = {row.trial_id for row in rows if row.state is TrialState.PRUNED}
            values = read_values(connection, ended)
            last_values = read_intermediate_values(connection, pruned, last_only=True)
            for trial_id, number, state in rows:
                self._running.setdefault(trial_id, _trial(trial_id, number))
                if state in _FINISHED:
                    self.finish(
                        trial_id, state, values.get(trial_id), last_values.get(trial_id, {})
                    )
                elif state is not TrialState.RUNNING:
                    del self._running[trial_id]
            self._let_go()
            nameless = [i for i in ended & self._finished.keys() if not self._finished[i].params]
            nameless += [i for i, trial in self._running.items() if not trial.params]
            described = read_params(connection, nameless)
        self._changes.accept(rows)
        for trial_id, params in described.items():
            self._describe(trial_id, params)
        self._ordered = None
        self.n_changes += len(described.keys() - ended)

    def begin(self, begun: Begun) -> Trial:
        """Return a running trial whose parameters are to be suggested."""
        trial = _trial(begun.trial_id, begun.number)
        trial.user_attrs, trial.system_attrs = begun.user_attrs, begun.system_attrs
        self._running[begun.trial_id] = trial
        self._describe(begun.trial_id, begun.params)
        self._ordered = None
        self.study._thread_local.cached_all_trials = None  # noqa: SLF001  as in Study.ask
        return Trial(self.study, begun.trial_id)

    def end_of_asking(self, trial_id: int) -> Params:
        """Return the parameters that were suggested for a trial."""
        self.n_changes += 1
        distributions = self._running[trial_id].distributions
        values = self._internal[trial_id]
        return {name: (values[name], distributions[name]) for name in values}

    def finish(
        self,
        trial_id: int,
        state: TrialState,
        values: Sequence[float] | None,
        intermediate_values: dict[int, float],
    ) -> None:
        """Take it that a running trial has come to its end."""
        trial = self._running.pop(trial_id)
        trial.state, trial.values = state, values
        trial.intermediate_values = {
            step: self._sign * loss for step, loss in intermediate_values.items()
        }
        self._finished[trial_id] = trial
        self._ordered = None
        self.n_changes += 1

    def table(self, trials: Iterable[FrozenTrial], names: Sequence[str]) -> Array:
        """Return the (n, len(names)) parameters, in internal form, of the trials that have all."""
        rows = (self._internal.get(trial._trial_id, {}) for trial in trials)  # noqa: SLF001
        needed = set(names)
        whole = [[row[name] for name in names] for row in rows if row.keys() >= needed]
        return np.array(whole, dtype=np.float64).reshape(-1, len(names))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials that are held, in the order of their numbers."""
        del study_id
        if self._ordered is None:
            self._let_go()
            trials = (*self._finished.values(), *self._running.values())
            self._ordered = sorted(trials, key=lambda trial: trial.number)
        chosen = [trial for trial in self._ordered if states is None or trial.state in states]
        return copy_of(chosen) if deepcopy else chosen

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial that is held."""
        return self._finished.get(trial_id) or self._running[trial_id]

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Keep a parameter of a running trial."""
        self._describe(trial_id, {param_name: (param_value_internal, distribution)})

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Drop what TPE tells other processes of a trial before it has its parameters."""

    def _let_go(self) -> None:
        """Forget the oldest of the finished trials that are not among the best."""
        if len(self._finished) <= KEPT_BEST + KEPT_LATEST + SLACK:
            return
        finished = sorted(self._finished.values(), key=lambda trial: trial.number)
        best, others = _split_trials(self.study, finished, KEPT_BEST)
        self._finished = {t._trial_id: t for t in best + others[-KEPT_LATEST:]}  # noqa: SLF001
        held = self._finished.keys() | self._running.keys()
        self._internal = {i: values for i, values in self._internal.items() if i in held}

    def _describe(self, trial_id: int, params: Params) -> None:
        trial = self.get_trial(trial_id)
        values = self._internal.setdefault(trial_id, {})
        for name, (value, distribution) in params.items():
            values[name] = value
            trial.distributions[name] = distribution
            trial.params[name] = distribution.to_external_repr(value)


def _trial(trial_id: int, number: int) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=trial_id,
    )
