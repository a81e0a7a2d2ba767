"""Run trials in the slots of a trainer: report, prune, tell. Optuna and Keras meet here."""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import numpy as np
from optuna.study import Study
from optuna.trial import TrialState

from shared.config.sections import QUALITIES, Objective
from shared.metrics import average_precision, scores_of
from shared.study.attributes import (
    AP_MACRO,
    AP_WEIGHTED,
    BY_FOLD,
    EPOCHS,
    RESUMED_AT,
    SECONDS,
    Failure,
    FailureKind,
    Owner,
)
from shared.study.pruning import Medians
from shared.study.tables.read import id_of
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.write import Ended
from shared.training.latency import latency_ms
from shared.training.schedule import Ending
from shared.training.trainer import Epoch, Trainer
from workers.asking import Asked, Asker
from workers.checkpoint import Identity, find_checkpoint, hash_of_params
from workers.failing import failure_by, is_last_straw
from workers.folds import VALIDATION_LOSS, FoldOutcome, by_fold, mean_over, outcome_of
from workers.heartbeat import Heartbeat
from workers.keeper import Keeper
from workers.reporting import Reporter
from workers.spec import SearchArrays, WorkerSpec

WAIT_S = 0.1
"""How long a worker without a trial waits before it looks whether it is to stop."""
INTERRUPTED = Failure(FailureKind.HANDED_BACK, "interrupted: its worker was stopped")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bench:
    """Hold what a worker runs its trials with."""

    study_id: int
    storage: StudyStorage
    spec: WorkerSpec
    arrays: SearchArrays
    trainer: Trainer
    asker: Asker
    reporter: Reporter
    heartbeat: Heartbeat
    keeper: Keeper
    failed: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """The ids of the trials that errors have ended here, by the cause."""


def open_bench(
    study: Study,
    storage: StudyStorage,
    spec: WorkerSpec,
    arrays: SearchArrays,
    trainer: Trainer,
    owner: Owner,
    n_ahead: int = 1,
) -> Bench:
    """Start the threads that ask, report, beat and keep in the name of the trials' owner.

    With no trial asked for ahead, each is asked for when all is written that was known before.
    """
    study_id = id_of(study)
    heartbeat = Heartbeat(storage, study_id, uuid4().hex, spec.config.workers)
    reporter = Reporter(study, storage, Medians(spec.config.study.pruner), heartbeat)
    widths = arrays.widths_by_name(spec.config)
    asker = Asker(study, storage, heartbeat, spec, owner, widths, n_ahead)
    keeper = Keeper(spec.store, spec.study_uuid)
    return Bench(study_id, storage, spec, arrays, trainer, asker, reporter, heartbeat, keeper)


@dataclass
class LiveTrial:
    """Hold a trial in training.

    `values` are its intermediate values by step: the losses of its first fold. `folds` are those
    that it is through; `epochs` and `best_loss` are of the one under way.
    """

    asked: Asked
    values: dict[int, float] = field(default_factory=dict)
    folds: list[FoldOutcome] = field(default_factory=list)
    epochs: int = 0
    best_loss: float = math.inf
    started: float = field(default_factory=time.monotonic)

    @property
    def n_epochs(self) -> int:
        """The epochs of all folds so far."""
        return sum(fold.epochs for fold in self.folds) + self.epochs


def run_trials(bench: Bench, should_stop: Callable[[], bool]) -> None:
    """Run trials to their endings: COMPLETE, PRUNED, or FAIL with its reason.

    A slot that a trial leaves takes the next one at once. Returns when the study needs no more, or
    when `should_stop()`: then trials under way are kept and handed back, to run again. An error in
    training fails its trials, and is raised when it is the third of its kind in the study. In any
    case the bench's threads are closed: checkpoints are written before others can take a trial.
    """
    live: dict[int, LiveTrial] = {}
    interval_s = bench.spec.config.workers.checkpoint_interval_s
    with ExitStack() as closing:
        closing.callback(bench.heartbeat.close)
        closing.callback(bench.keeper.close)
        closing.callback(bench.reporter.close)
        closing.callback(_hand_back, live, bench)
        closing.callback(bench.keeper.finish)
        kept_s = time.monotonic()
        while not should_stop() and (live or not bench.asker.is_exhausted):
            _fill_slots(live, bench)
            _drop_taken(live, bench)
            if not live:
                continue
            with _failing(live, bench):
                for epoch in bench.trainer.advance():
                    if _take_in(live[epoch.key], epoch, bench):
                        _leave(live, epoch.key, bench)
            is_due = time.monotonic() - kept_s >= interval_s
            if is_due and not bench.keeper.is_busy:
                _keep(live, bench)
                kept_s = time.monotonic()
        _keep(live, bench)


def trial_seed(study_seed: int, trial_number: int, fold: int = 0) -> int:
    """Return the seed of a trial's weights, dropout and shuffling on a fold, in 31 bits."""
    state = np.random.SeedSequence([study_seed, trial_number, fold]).generate_state(1)
    return int(state[0] >> 1)


def _fill_slots(live: dict[int, LiveTrial], bench: Bench) -> None:
    """Put trials that were asked for into free slots; wait for one only when all are free."""
    trainer, arrays, spec = bench.trainer, bench.arrays, bench.spec
    while trainer.n_heads < trainer.n_slots:
        if not bench.asker.is_ahead:
            bench.reporter.settle()
        asked = bench.asker.take(timeout_s=0 if live else WAIT_S)
        if asked is None:
            return
        kept = find_checkpoint(spec.store, asked.checkpoints, _identity(asked, spec))
        running = LiveTrial(asked)
        if kept is not None:
            progress = kept.snapshot.progress
            running.values, running.folds = kept.values, kept.folds
            running.epochs, running.best_loss = progress.epochs, progress.best_value
        if asked.checkpoints:
            attrs = {RESUMED_AT: running.n_epochs, **_describe_folds(running)}
            bench.reporter.send(asked.trial_id, running.values, attrs)
        live[asked.trial_id] = running
        fold = len(running.folds)
        with _failing(live, bench):
            trainer.add(
                asked.trial_id,
                asked.params,
                trial_seed(spec.config.study.seed, asked.origin, fold),
                *arrays.folds[fold],
                None if kept is None else kept.snapshot,
            )


def _identity(asked: Asked, spec: WorkerSpec) -> Identity:
    params_hash = hash_of_params(asked.params)
    return Identity(spec.study_uuid, asked.origin, 0, params_hash, spec.fingerprint)


def _hand_back(live: dict[int, LiveTrial], bench: Bench) -> None:
    """Let others run what is in training here, or was asked for and not begun."""
    for asked in [trial.asked for trial in live.values()] + bench.asker.close():
        bench.reporter.send(asked.trial_id, end=INTERRUPTED)


@contextmanager
def _failing(live: dict[int, LiveTrial], bench: Bench) -> Iterator[None]:
    """Fail the trials in training when an error comes up; raise it when it keeps doing so."""
    try:
        yield
    except Exception as error:
        if error is bench.reporter.failure:
            raise
        failure = failure_by(error)
        numbers = [running.asked.number for running in live.values()]
        logger.warning("Trials %s failed: %s", numbers, failure.reason)
        logger.info("This is how they failed", exc_info=error)
        bench.trainer.clear()
        for trial_id, running in live.items():
            attrs = {**_describe(running), **failure.attrs}
            _end(running, bench, Ended(TrialState.FAIL), attrs)
            bench.failed[failure.cause].add(trial_id)
        live.clear()
        failed_here = bench.failed[failure.cause]
        if is_last_straw(bench.storage, bench.study_id, failure, failed_here):
            raise


def _drop_taken(live: dict[int, LiveTrial], bench: Bench) -> None:
    """Let go of trials that others have failed because they heard nothing from this worker."""
    if bench.heartbeat.failure is not None:
        raise bench.heartbeat.failure
    for trial_id in bench.heartbeat.taken & live.keys():
        logger.warning("Trial %d was taken: it runs elsewhere", live[trial_id].asked.number)
        bench.trainer.remove(trial_id)
        del live[trial_id]


def _leave(live: dict[int, LiveTrial], trial_id: int, bench: Bench) -> None:
    """Forget a trial that has ended."""
    bench.trainer.remove(trial_id)
    del live[trial_id]


def _end(
    running: LiveTrial,
    bench: Bench,
    end: Ended,
    attrs: Mapping[str, Any],
    values: Mapping[int, float] = MappingProxyType({}),
) -> None:
    """Report a trial's end; what was kept of it goes when the database has accepted that.

    Of a trial that was taken it stays: whoever runs it again goes on from there.
    """
    asked = running.asked
    forget = partial(bench.keeper.remove, (asked.trial_id, *asked.checkpoints))
    bench.reporter.send(asked.trial_id, values, attrs, end, forget)


def _keep(live: dict[int, LiveTrial], bench: Bench) -> None:
    """Have checkpoints written of all trials that have been through an epoch and have a slot."""
    for trial_id, running in live.items():
        if running.values and (snapshot := bench.trainer.snapshot(trial_id)) is not None:
            identity = _identity(running.asked, bench.spec)
            bench.keeper.write(trial_id, identity, snapshot, running.values, running.folds)


def _take_in(running: LiveTrial, epoch: Epoch, bench: Bench) -> bool:
    """Report an epoch; tell the trial and return True when it was the last."""
    asked, reporter, objectives = running.asked, bench.reporter, bench.spec.config.study.objective
    if epoch.ending is Ending.DIVERGED:
        where = f" of fold {len(running.folds) + 1}" if len(bench.arrays.folds) > 1 else ""
        reason = f"diverged: the loss was not finite in epoch {epoch.step + 1}{where}"
        logger.warning("Trial %d failed: %s", asked.number, reason)
        attrs = {**_describe(running), **Failure(FailureKind.DIVERGED, reason).attrs}
        _end(running, bench, Ended(TrialState.FAIL), attrs)
        return True
    running.epochs, running.best_loss = epoch.step + 1, min(epoch.value, running.best_loss)
    new = {} if running.folds else {epoch.step: epoch.value}
    running.values |= new
    if len(objectives) == 1 and new and reporter.medians.should_prune(running.values):
        last = (epoch.value,) if objectives == (VALIDATION_LOSS,) else ()
        end = Ended(TrialState.PRUNED, last)
        _end(running, bench, end, _describe(running), new)
        return True
    if epoch.ending is None:
        if new:
            reporter.send(asked.trial_id, new)
        return False
    _end_fold(running, bench)
    if len(running.folds) < len(bench.arrays.folds):
        reporter.send(asked.trial_id, new, _describe_folds(running))
        _begin_next_fold(running, bench)
        return False
    attrs = {
        **_describe(running),
        **(_describe_folds(running) if len(running.folds) > 1 else {}),
        AP_WEIGHTED: round(mean_over(running.folds, "ap_weighted"), 6),
        AP_MACRO: round(mean_over(running.folds, "ap_macro"), 6),
    }
    values = tuple(_value_of(running, objective, bench) for objective in objectives)
    _end(running, bench, Ended(TrialState.COMPLETE, values), attrs, new)
    return True


def _value_of(running: LiveTrial, objective: Objective, bench: Bench) -> float:
    """Return what a trial that is through all folds is to be compared by."""
    if objective in QUALITIES:
        return mean_over(running.folds, objective)
    weights = bench.trainer.weights(running.asked.trial_id)
    if objective == "n_parameters":
        return float(sum(array.size for array in weights))
    return latency_ms(running.asked.params, weights)


def _end_fold(running: LiveTrial, bench: Bench) -> None:
    """Measure the head at its best epoch on the fold's held-out rows."""
    _, valid_rows = bench.arrays.folds[len(running.folds)]
    logits = bench.trainer.logits(running.asked.trial_id, valid_rows)
    measured = average_precision(
        bench.arrays.labels[valid_rows],
        scores_of(logits, running.asked.params.task),
        bench.spec.label_names,
    )
    running.folds.append(outcome_of(running.epochs, running.best_loss, measured))
    running.epochs, running.best_loss = 0, math.inf


def _begin_next_fold(running: LiveTrial, bench: Bench) -> None:
    asked, fold = running.asked, len(running.folds)
    seed = trial_seed(bench.spec.config.study.seed, asked.origin, fold)
    bench.trainer.restart(asked.trial_id, seed, *bench.arrays.folds[fold])


def _describe(running: LiveTrial) -> dict[str, Any]:
    seconds = round(time.monotonic() - running.started, 3)
    return {EPOCHS: running.n_epochs, SECONDS: seconds}


def _describe_folds(running: LiveTrial) -> dict[str, Any]:
    return {BY_FOLD: by_fold(running.folds)} if running.folds else {}
