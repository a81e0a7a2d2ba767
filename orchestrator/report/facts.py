"""Gather what a report says of a run, as plain values."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from orchestrator.data.splits import read_split
from orchestrator.data.stored import part_of
from orchestrator.events.events import read_events
from orchestrator.report.comparisons import NAMES
from orchestrator.report.outcome import Outcome
from orchestrator.runs.run import Run
from orchestrator.status.study_reader import FrontTrial
from shared.config.sections import Objective
from shared.config.sweep import SweepConfig
from shared.store import Store
from shared.study.attributes import (
    DATA,
    EPOCHS,
    FINGERPRINT,
    LABELS,
    RESUMED_AT,
    SEARCH_S,
    VERSIONS,
    WORKER,
)
from shared.study.objectives import rank
from shared.study.study import progress_of
from shared.training.params import Task

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Asked:
    """Hold what the run was started for.

    `rows` counts the rows of each part of the data; it is empty where another machine split them.
    `n_trial_folds` is 1 where trials are measured on the one split.
    """

    data: str
    task: Task
    label_names: tuple[str, ...]
    rows: dict[str, int]
    encoders: tuple[str, ...]
    n_trials: int
    timeout_s: float | None
    objectives: tuple[str, ...]
    n_trial_folds: int
    target_value: float | None
    n_folds: int


@dataclass(frozen=True)
class Searched:
    """Hold how the search stands.

    `best_values` are by name of objective; `front` is the Pareto front, the best in the first
    objective first, and empty where there is one objective.
    """

    complete: int
    pruned: int
    failed: int
    running: int
    best_trial: int | None
    best_values: dict[str, float]
    best_params: dict[str, Any]
    front: tuple[FrontTrial, ...]

    @property
    def finished(self) -> int:
        """Trials that count towards the budget."""
        return self.complete + self.pruned


@dataclass(frozen=True)
class Cost:
    """Hold where time went; seconds of one worker each, but for the wall time of the stages.

    `embed_s` is that of the longest start, since later ones find the vectors. `worker_s` is the
    time in which workers had at least one trial, all workers together. What pruning saved is an
    estimate: the epochs that pruned trials lack to the median of the complete ones, at the worker
    time that an epoch took on average.
    """

    embed_s: float | None
    search_s: float
    ensemble_s: float | None
    n_workers: int
    worker_s: float
    epochs: int
    epochs_saved: float
    worker_s_saved: float


@dataclass(frozen=True)
class Reproduction:
    """Hold what it takes to get the same again; the configuration's passwords are stars."""

    fingerprint: str
    seed: int
    encoder_revisions: dict[str, str]
    versions: dict[str, str]
    best_params: dict[str, Any]
    config: dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """Hold all that a report says; `outcome` is None before the ensemble."""

    study: str
    written: str
    asked: Asked
    searched: Searched
    cost: Cost
    outcome: Outcome | None
    reproduction: Reproduction


def gather(
    run: Run,
    study: Study,
    outcome: Outcome | None,
    metrics: Mapping[str, Any],
    bundled: Mapping[str, str],
) -> Facts:
    """Gather the facts of a run; `metrics` and the versions that the bundle names may be empty."""
    config, attrs = run.config, study.user_attrs
    searched = _searched(study, config.study.objective)
    return Facts(
        study=run.study_name,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        asked=_asked(run, tuple(attrs.get(LABELS, ()))),
        searched=searched,
        cost=tell_cost(
            study.get_trials(deepcopy=False),
            _embed_s(run),
            attrs[SEARCH_S],
            metrics.get("ensemble_s"),
        ),
        outcome=outcome,
        reproduction=Reproduction(
            fingerprint=attrs[FINGERPRINT],
            seed=config.study.seed,
            encoder_revisions=_encoder_revisions(config, attrs.get(DATA, {})),
            versions={**bundled, **attrs.get(VERSIONS, {})},
            best_params=searched.best_params,
            config=_shareable(config),
        ),
    )


def tell_cost(
    trials: Sequence[FrozenTrial],
    embed_s: float | None,
    search_s: float,
    ensemble_s: float | None,
) -> Cost:
    """Add up the time of the trials, and estimate what pruning saved."""
    busy = _busy_s(trials)
    epochs = {state: [_epochs(t) for t in trials if t.state is state] for state in _FINISHED}
    complete, pruned = epochs[TrialState.COMPLETE], epochs[TrialState.PRUNED]
    # Of several folds an unfinished trial's values are those of the first, so there may be fewer.
    n_epochs = sum(max(0, _epochs(t) - t.user_attrs.get(RESUMED_AT, 0)) for t in trials)
    usual = median(complete) if complete else 0
    saved = float(sum(max(0, usual - n) for n in pruned))
    worker_s = sum(busy.values())
    return Cost(
        embed_s=embed_s,
        search_s=search_s,
        ensemble_s=ensemble_s,
        n_workers=len(busy),
        worker_s=round(worker_s, 1),
        epochs=n_epochs,
        epochs_saved=saved,
        worker_s_saved=round(worker_s * saved / n_epochs, 1) if n_epochs else 0.0,
    )


def _embed_s(run: Run) -> float | None:
    """Return the seconds of the longest embedding that the run's events tell of, if any."""
    if not run.paths.events.exists():
        return None
    ended = (one for one in read_events(run.paths.events) if one["event"] == "stage_ended")
    return max((one["seconds"] for one in ended if one["stage"] == "embed"), default=None)


def _asked(run: Run, label_names: tuple[str, ...]) -> Asked:
    config = run.config
    rows = {}
    if run.paths.split.exists():
        split = read_split(run.paths.split)
        rows = {part: len(getattr(split, part)) for part in ("train", "valid", "test")}
    return Asked(
        data=config.data.file_names or "the store of the study",
        task=config.data.task,
        label_names=label_names,
        rows=rows,
        encoders=tuple(config.all_encoders),
        n_trials=config.study.n_trials,
        timeout_s=config.study.timeout_s,
        objectives=tuple(NAMES[objective] for objective in config.study.objective),
        n_trial_folds=(config.study.n_folds or 1) * config.study.n_repeats,
        target_value=config.study.target_value,
        n_folds=config.ensemble.n_folds,
    )


def _encoder_revisions(config: SweepConfig, data: Mapping[str, str]) -> dict[str, str]:
    names = config.all_encoders
    return {name: data.get(part_of(name, names), "unknown") for name in names}


def _searched(study: Study, objectives: Sequence[Objective]) -> Searched:
    progress = progress_of(study)
    best, names = progress.best, [NAMES[objective] for objective in objectives]
    front = study.best_trials if len(objectives) > 1 else []
    front.sort(key=lambda trial: (rank(trial.values, study.directions), trial.number))
    return Searched(
        complete=progress.complete,
        pruned=progress.pruned,
        failed=progress.failed,
        running=progress.running,
        best_trial=None if best is None else best.number,
        best_values={} if best is None else dict(zip(names, best.values, strict=True)),
        best_params={} if best is None else study.trials[best.number].params,
        front=tuple(FrontTrial(trial.number, tuple(trial.values)) for trial in front),
    )


def _busy_s(trials: Iterable[FrozenTrial]) -> dict[str, float]:
    """Return for each worker the seconds in which it had trials, several at a time counted once."""
    spans = defaultdict(list)
    for trial in trials:
        if trial.datetime_start and trial.datetime_complete and WORKER in trial.user_attrs:
            span = trial.datetime_start.timestamp(), trial.datetime_complete.timestamp()
            spans[trial.user_attrs[WORKER]].append(span)
    return {worker: _length(sorted(of_worker)) for worker, of_worker in spans.items()}


def _length(spans: Sequence[tuple[float, float]]) -> float:
    """Return the length of the union of spans that are ordered by their starts."""
    total, reached = 0.0, spans[0][0]
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _epochs(trial: FrozenTrial) -> int:
    """Return the epochs that a trial has behind it, those before it ran again included."""
    return int(trial.user_attrs.get(EPOCHS, len(trial.intermediate_values)))


def _shareable(config: SweepConfig) -> dict[str, Any]:
    """Return the configuration for others to read: a store's URL may hold a password."""
    values = config.model_dump(mode="json")
    if config.workers.store is not None:
        values["workers"]["store"] = str(Store(config.workers.store))
    return values
