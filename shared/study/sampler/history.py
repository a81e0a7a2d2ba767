"""Show the sampler what it needs of a study, kept in memory and read once."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from copy import deepcopy as copy_of
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.samplers._tpe.sampler import (
    _split_trials,
    default_gamma,
    default_gamma_multiobjective,
)
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import Connection, Row

from shared.study.objectives import rank
from shared.study.sampler.param_table import ParamTable
from shared.study.tables.read import (
    Changes,
    ParamColumn,
    Params,
    id_of,
    read_intermediate_values,
    read_param_columns,
    read_values,
)
from shared.study.tables.standing import (
    count_ended,
    in_best_ranks,
    read_best,
    read_latest,
    read_states,
)
from shared.study.tables.study import wait_to_read
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.trials import Begun

KEPT_LATEST = 1000
"""So many of the others, the latest: TPE's weights fade with age, its cost does not."""
SLACK = 100
"""By how much those that are held may grow before the oldest are let go of."""

Array = npt.NDArray[np.float64]
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class _Found:
    """Hold what a reading has brought, before it is taken in.

    `changed` are the trials that are new or were unfinished before, `missing` ended ones that are
    to be held and are not; `n_finished` counts the finished trials without those of `changed`.
    """

    changed: Sequence[Row[Any, Any, Any]]
    missing: Sequence[Row[Any, Any, Any]]
    n_finished: int
    n_best: float
    values: Mapping[int, Sequence[float]]
    last_values: Mapping[int, dict[int, float]]
    params: Sequence[ParamColumn]


class History(InMemoryStorage):
    """Be the storage of a study in memory that follows one in PostgreSQL, for one thread's sampler.

    It holds the best and the latest finished trials, and the running ones with their parameters: of
    a study of up to a thousand trials, all that TPE looks at. Of the best it holds as many as TPE
    takes for good ones in a study of twice the size; when it has grown beyond, they are read anew.
    What the sampler writes stays here.
    """

    def __init__(self, study: Study, sampler: BaseSampler) -> None:
        """Know of no trial yet."""
        super().__init__()
        self.create_new_study(study.directions, study.study_name)
        self.study = optuna.load_study(study_name=study.study_name, storage=self, sampler=sampler)
        self._directions = study.directions
        self._gamma = default_gamma if len(study.directions) == 1 else default_gamma_multiobjective
        self._changes = Changes(id_of(study))
        self._is_new = True
        self._finished: dict[int, FrozenTrial] = {}
        self._running: dict[int, FrozenTrial] = {}
        self._ordered: list[FrozenTrial] | None = None
        self._params = ParamTable()
        self._in_common: dict[str, BaseDistribution] | None = None
        # TPE ranks pruned trials by what they reported: losses, also where the value is maximised.
        self._sign = 1 if study.directions[0] is StudyDirection.MINIMIZE else -1
        self._n_kept = KEPT_LATEST
        self._n_best = inf  # so many of the best are held, all as long as none was let go of
        self.n_finished = 0
        """How many trials of the study have finished, whether or not they are held."""
        self.n_changes = 0
        """How many trials have finished or got parameters so far."""

    @property
    def n_good(self) -> int:
        """How many of the finished trials TPE takes for good ones."""
        return self._gamma(self.n_finished)

    def refresh(self, storage: StudyStorage) -> None:
        """Take in what is new in the study; may be repeated when it failed."""
        found = storage.transact(self._find)
        self._changes.accept(found.changed)
        self._is_new, self._n_best = False, found.n_best
        self.n_finished = found.n_finished - len(found.missing)
        for trial_id, number, state in (*found.missing, *found.changed):
            if trial_id not in self._running:
                self._running[trial_id] = _HeldTrial(trial_id, number, self._params)
            if state in _FINISHED:
                values, last_values = found.values.get(trial_id), found.last_values
                self.finish(trial_id, state, values, last_values.get(trial_id, {}))
            elif state is not TrialState.RUNNING:
                del self._running[trial_id]
        described = set[int]()
        for column in found.params:
            self._params.add(column)
            described.update(column.trial_ids)
        self._ordered = None
        self.n_changes += len(described & self._running.keys())

    def _find(self, connection: Connection) -> _Found:
        changed: Sequence[Row[Any, Any, Any]]
        n_finished, n_best, wanted = self.n_finished, self._n_best, set[int]()
        if self._is_new:
            wait_to_read(connection)
            changed = self._changes.skip_ended(connection)
            counts = count_ended(connection, self._changes.ended)
            n_finished = sum(counts[state] for state in _FINISHED)
            wanted = read_latest(connection, self._changes.ended, _FINISHED, KEPT_LATEST)
            n_best = inf if n_finished <= KEPT_LATEST else 0
        else:
            changed = self._changes.read(connection)
        n_now = n_finished + sum(row.state in _FINISHED for row in changed)
        if self._gamma(n_now) > n_best:
            n_best = self._gamma(2 * n_now)
            wanted |= read_best(connection, self._changes.ended, self._directions, n_best)
        missing = read_states(connection, wanted - self._finished.keys())
        contents = self._read_contents(connection, [*missing, *changed])
        return _Found(changed, missing, n_finished, n_best, *contents)

    def _read_contents(
        self, connection: Connection, rows: Sequence[Row[Any, Any, Any]]
    ) -> tuple[Mapping[int, list[float]], Mapping[int, dict[int, float]], Sequence[ParamColumn]]:
        """Return the finished trials' values, the pruned ones' last, and parameters not known."""
        by_state = defaultdict[TrialState, set[int]](set)
        for trial_id, _, state in rows:
            by_state[state].add(trial_id)
        finished = by_state[TrialState.COMPLETE] | by_state[TrialState.PRUNED]
        gone = by_state[TrialState.FAIL] | by_state[TrialState.WAITING]
        known = {trial_id for trial_id in self._running if trial_id in self._params}
        nameless = (finished | by_state[TrialState.RUNNING] | self._running.keys()) - gone - known
        return (
            read_values(connection, finished),
            read_intermediate_values(connection, by_state[TrialState.PRUNED], last_only=True),
            read_param_columns(connection, nameless),
        )

    def begin(self, begun: Begun) -> Trial:
        """Return a running trial whose parameters are to be suggested."""
        trial = _HeldTrial(begun.trial_id, begun.number, self._params)
        trial.user_attrs, trial.system_attrs = begun.user_attrs, begun.system_attrs
        self._running[begun.trial_id] = trial
        self._params.set(begun.trial_id, begun.params)
        self._ordered = None
        self.study._thread_local.cached_all_trials = None  # noqa: SLF001  as in Study.ask
        return Trial(self.study, begun.trial_id)

    def end_of_asking(self, trial_id: int) -> Params:
        """Return the parameters that were suggested for a trial."""
        self.n_changes += 1
        return self._params.params_of(trial_id)

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
        self._ordered = self._in_common = None
        self.n_finished += 1
        self.n_changes += 1

    def table(self, trials: Iterable[FrozenTrial], names: Sequence[str]) -> Array:
        """Return the (n, len(names)) parameters, in internal form, of the trials that have all."""
        return self._params.rows([trial._trial_id for trial in trials], names)  # noqa: SLF001

    def search_space(self) -> dict[str, BaseDistribution]:
        """Return the parameters that all finished trials have, from the same distribution."""
        if self._in_common is None:
            self._in_common = self._params.in_common(self._finished.keys())
        return self._in_common

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
        self._params.set(trial_id, {param_name: (param_value_internal, distribution)})

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Drop what TPE tells other processes of a trial before it has its parameters."""

    def _let_go(self) -> None:
        """Forget the oldest of the finished trials that are not among the best."""
        if len(self._finished) <= self._n_kept + SLACK:
            return
        if self._n_best == inf:
            self._n_best = self._gamma(2 * self.n_finished)
        finished = sorted(self._finished.values(), key=lambda trial: trial.number)
        best, others = self._divide(finished, int(self._n_best))
        self._finished = {t._trial_id: t for t in (*best, *others[-KEPT_LATEST:])}  # noqa: SLF001
        self._n_kept = len(self._finished)
        self._params.keep(self._finished.keys() | self._running.keys())

    def _divide(
        self, trials: list[FrozenTrial], n_best: int
    ) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """Return the `n_best` best trials and those level with them (see `read_best`); the rest."""
        if len(self._directions) == 1:
            return _split_trials(self.study, trials, n_best)
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
        losses = np.array([rank(trial.values, self._directions) for trial in complete])
        is_best = in_best_ranks(losses, n_best)
        best = {t._trial_id for t, is_one in zip(complete, is_best, strict=True) if is_one}  # noqa: SLF001
        others = [trial for trial in trials if trial._trial_id not in best]  # noqa: SLF001
        return [trial for trial in trials if trial._trial_id in best], others  # noqa: SLF001


class _HeldTrial(FrozenTrial):
    """A trial that runs, or ran, whose parameters are looked up when they are asked for."""

    def __init__(self, trial_id: int, number: int, table: ParamTable) -> None:
        """Take it as running."""
        self._table = table
        super().__init__(
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

    @property  # type: ignore[misc]  # nothing sets them
    def params(self) -> dict[str, Any]:
        """The parameters as the study shows them."""
        params = self._table.params_of(self._trial_id)
        return {name: one.to_external_repr(value) for name, (value, one) in params.items()}

    @property  # type: ignore[misc]
    def distributions(self) -> dict[str, BaseDistribution]:
        """What the parameters were drawn from."""
        return {name: one for name, (_, one) in self._table.params_of(self._trial_id).items()}
