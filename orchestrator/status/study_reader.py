"""Follow a study from outside: what its trials are doing, read anew only where it is new."""

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, Row

from orchestrator.status.forecast import MAX_GAPS, Span
from shared.study.attributes import BY_FOLD, FAILURE, NODE, WORKER
from shared.study.objectives import dominates, rank
from shared.study.tables.read import (
    Changes,
    read_clock,
    read_intermediate_values,
    read_silences,
    read_times,
    read_trial_attrs,
    read_values,
)
from shared.study.tables.standing import (
    count_ended,
    read_front,
    read_improvements,
    read_last_ended,
    read_states,
)
from shared.study.tables.study_storage import StudyStorage

WINDOW_S = 300.0
"""The time before now in which it is measured how busy workers are."""
N_FAILURES = 20
"""How many of the latest failed trials are remembered with their reason."""
SECONDS = "seconds"
"""The attribute of an ended trial that says how long it was in training."""

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_ENDED = (*_FINISHED, TrialState.FAIL)
_Rows = Sequence[Row[Any, Any, Any]]


@dataclass(frozen=True)
class Improvement:
    """Say that a trial became the best when `n_finished` had finished, and its first value."""

    n_finished: int
    trial: int
    value: float


@dataclass(frozen=True)
class FrontTrial:
    """Hold a trial that none is better than in all objectives, and its values in their order."""

    trial: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Failure:
    """Hold the number of a failed trial and its reason."""

    trial: int
    reason: str


@dataclass(frozen=True)
class RunningTrial:
    """Hold what is known of a running trial.

    `step` and `value` are its latest intermediate value, None before its first: it then waits for
    a slot, or is in its first epoch. `folds` counts those that it is through: it reports of the
    first one alone. `value_age_s` counts from when this value, or the end of a fold, was first seen
    here, since the study does not say when it was reported; None for what was there before.
    `silent_s` counts from its last heartbeat, `running_s` from when it was asked for.
    """

    trial: int
    worker: str
    node: str
    step: int | None
    value: float | None
    value_age_s: float | None
    silent_s: float
    running_s: float
    folds: int = 0


@dataclass(frozen=True)
class Training:
    """Say when a trial that ended was in training, in seconds, and where."""

    worker: str
    node: str
    span: Span


@dataclass(frozen=True)
class Followed:
    """Hold a study's state.

    `now_s` is the database's clock; it and all spans are in seconds since 1970. `finished` are the
    latest finished trials, from being asked for to their end; `trained` those that ended in the
    last `WINDOW_S`. `best_values` are those of the best trial, which the last improvement names, by
    objective; `front` is the Pareto front, by number.
    """

    counts: Counter[TrialState]
    improvements: tuple[Improvement, ...]
    best_values: tuple[float, ...]
    front: tuple[FrontTrial, ...]
    failures: tuple[Failure, ...]
    running: tuple[RunningTrial, ...]
    finished: tuple[Span, ...]
    trained: tuple[Training, ...]
    now_s: float


@dataclass(frozen=True)
class _Found:
    """Hold what a reading has brought, before it is taken in.

    `skipped` counts ended trials of which nothing is read, by state. `n_finished` are how many had
    finished when one became the best, where that is known already.
    """

    rows: _Rows
    skipped: Counter[TrialState]
    n_finished: Mapping[int, int]
    values: Mapping[int, Sequence[float]]
    last: Mapping[int, Mapping[int, float]]
    times: Mapping[int, tuple[float | None, float | None]]
    attrs: Mapping[int, Mapping[str, Any]]
    silences: Mapping[int, float]
    now_s: float


class StudyReader:
    """Follow the trials of one study; a reading costs what is new, not what there is.

    Times of trials come from the clocks of their workers' machines, which are taken to agree with
    the database's; their time zones need not.
    """

    def __init__(self, study_id: int, directions: Sequence[StudyDirection]) -> None:
        """Know of no trial yet; `directions` say which values are the better ones."""
        self._changes = Changes(study_id)
        self._directions = directions
        self._ended: Counter[TrialState] = Counter()
        self._improvements: list[Improvement] = []
        self._best_values: tuple[float, ...] = ()
        self._front: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {}
        self._failures: deque[Failure] = deque(maxlen=N_FAILURES)
        self._finished: deque[Span] = deque(maxlen=MAX_GAPS + 1)
        self._trained: deque[Training] = deque()
        self._seen_s: dict[tuple[int, int, int], float | None] = {}
        self._is_first = True

    def read(self, storage: StudyStorage) -> Followed:
        """Read what is new and return the state; may be repeated when it failed."""
        found = storage.transact(self._find)
        self._changes.accept(found.rows)
        self._ended += found.skipped
        self._take_in(found)
        running = self._running(found)
        self._is_first = False
        return Followed(
            counts=self._ended + Counter(row.state for row in found.rows if _is_open(row)),
            improvements=tuple(self._improvements),
            best_values=self._best_values,
            front=tuple(FrontTrial(i, values) for i, (_, values) in sorted(self._front.items())),
            failures=tuple(reversed(self._failures)),
            running=running,
            finished=tuple(self._finished),
            trained=tuple(self._trained),
            now_s=found.now_s,
        )

    def _find(self, connection: Connection) -> _Found:
        now_s, skipped = read_clock(connection), Counter[TrialState]()
        n_finished: Mapping[int, int] = {}
        if self._is_first:
            rows, skipped, n_finished = self._find_first(connection, now_s - WINDOW_S)
        else:
            rows = self._changes.read(connection)
        ended = {row.trial_id for row in rows if row.state.is_finished()}
        running = {row.trial_id for row in rows if row.state is TrialState.RUNNING}
        times = read_times(connection, ended | running)
        complete = {row.trial_id for row in rows if row.state is TrialState.COMPLETE}
        since_s = now_s - WINDOW_S
        recent = {trial_id for trial_id in ended if (times[trial_id][1] or 0.0) > since_s}
        failed = [row.trial_id for row in rows if row.state is TrialState.FAIL][-N_FAILURES:]
        keys = (WORKER, NODE, SECONDS, FAILURE, BY_FOLD)
        return _Found(
            rows=rows,
            skipped=skipped,
            n_finished=n_finished,
            values=read_values(connection, complete),
            last=read_intermediate_values(connection, running, last_only=True),
            times=times,
            attrs=read_trial_attrs(connection, running | recent | set(failed), keys),
            silences=read_silences(connection, running),
            now_s=now_s,
        )

    def _find_first(
        self, connection: Connection, since_s: float
    ) -> tuple[_Rows, Counter[TrialState], Mapping[int, int]]:
        """Find the trials that are to be told of, however many have ended; count the others."""
        unfinished = self._changes.skip_ended(connection)
        ended = self._changes.ended
        n_finished = read_improvements(connection, ended, self._directions[0])
        told = n_finished.keys() | read_last_ended(connection, ended, _FINISHED, MAX_GAPS + 1)
        told |= read_last_ended(connection, ended, (TrialState.FAIL,), N_FAILURES)
        told |= read_last_ended(connection, ended, _ENDED, since_s=since_s)
        if len(self._directions) > 1:
            told |= read_front(connection, ended, self._directions)
        rows = read_states(connection, told)
        skipped = count_ended(connection, ended) - Counter(row.state for row in rows)
        return [*rows, *unfinished], skipped, n_finished

    def _take_in(self, found: _Found) -> None:
        ended = [row for row in found.rows if row.state.is_finished()]
        for row in sorted(ended, key=lambda row: found.times[row.trial_id][1] or 0.0):
            self._ended[row.state] += 1
            start_s, end_s = found.times[row.trial_id]
            attrs = found.attrs.get(row.trial_id, {})
            if row.state is TrialState.FAIL:
                reason = str(attrs.get(FAILURE, "no reason is recorded"))
                self._failures.append(Failure(row.number, reason))
            elif start_s and end_s:
                self._finished.append((start_s, end_s))
            if end_s and SECONDS in attrs:
                span = (end_s - float(attrs[SECONDS]), end_s)
                self._trained.append(Training(*_place(attrs), span))
            if row.trial_id in found.values:
                so_far = sum(self._ended[state] for state in _FINISHED)
                n_finished = found.n_finished.get(row.trial_id, so_far)
                self._improve(row.number, found.values[row.trial_id], n_finished)
        since_s = found.now_s - WINDOW_S
        while self._trained and self._trained[0].span[1] <= since_s:
            self._trained.popleft()

    def _improve(self, number: int, values: Sequence[float], n_finished: int) -> None:
        own, front = rank(values, self._directions), self._front
        best = self._improvements[-1] if self._improvements else None
        if best is None or (own, number) < (front[best.trial][0], best.trial):
            self._improvements.append(Improvement(n_finished, number, values[0]))
            self._best_values = tuple(values)
        if not any(dominates(other, own) for other, _ in front.values()):
            self._front = {i: one for i, one in front.items() if not dominates(own, one[0])}
            self._front[number] = (own, tuple(values))

    def _running(self, found: _Found) -> tuple[RunningTrial, ...]:
        clock_s = time.monotonic()
        seen_s: dict[tuple[int, int, int], float | None] = {}
        trials = []
        for row in found.rows:
            if row.state is not TrialState.RUNNING:
                continue
            step, value = next(iter(found.last[row.trial_id].items()), (None, None))
            attrs = found.attrs[row.trial_id]
            folds = max(map(len, attrs.get(BY_FOLD, {}).values()), default=0)
            age_s = None
            if step is not None:
                key = (row.trial_id, step, folds)
                seen_s[key] = self._seen_s.get(key, None if self._is_first else clock_s)
                since_s = seen_s[key]
                age_s = None if since_s is None else clock_s - since_s
            start_s = found.times[row.trial_id][0] or found.now_s
            running_s = max(0.0, found.now_s - start_s)
            silent_s = found.silences.get(row.trial_id, running_s)
            place = _place(attrs)
            trials.append(
                RunningTrial(row.number, *place, step, value, age_s, silent_s, running_s, folds)
            )
        self._seen_s = seen_s
        return tuple(sorted(trials, key=lambda trial: (trial.step is None, trial.trial)))


def _is_open(row: Row[Any, Any, Any]) -> bool:
    return not row.state.is_finished()


def _place(attrs: Mapping[str, Any]) -> tuple[str, str]:
    return attrs.get(WORKER, "unknown"), attrs.get(NODE, "unknown")
