"""Run trials in the slots of a trainer: report, prune, tell. Optuna and Keras meet here."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from optuna.trial import Trial, TrialState

from shared.search.budget import DIVERGED
from shared.search.pruning import Medians
from shared.search.study import FAILURE
from shared.training.metrics import average_precision
from shared.training.schedule import Ending
from shared.training.trainer import Epoch, Trainer
from workers.asking import Asker
from workers.reporting import Ended, Reporter
from workers.spec import SearchArrays, WorkerSpec

WAIT_S = 0.1
"""How long a worker without a trial waits before it looks whether it is to stop."""
INTERRUPTED = "interrupted: the search was stopped"

logger = logging.getLogger(__name__)


@dataclass
class LiveTrial:
    """Hold a trial in training."""

    trial: Trial
    values: dict[int, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)


def run_trials(
    asker: Asker,
    reporter: Reporter,
    medians: Medians,
    trainer: Trainer,
    spec: WorkerSpec,
    arrays: SearchArrays,
    should_stop: Callable[[], bool],
) -> None:
    """Run trials to their endings: COMPLETE, PRUNED, or FAIL with its reason.

    A slot that a trial leaves takes the next one at once. Returns when the study needs no more, or
    when `should_stop()`: then trials under way are told as failures. So they are after an error of
    the program, which is raised again: the next trial would meet it as well. In any case asker and
    reporter are closed.
    """
    live: dict[int, LiveTrial] = {}
    reason = INTERRUPTED
    try:
        while not should_stop() and (live or not asker.is_exhausted):
            _fill_slots(live, asker, trainer, spec, arrays)
            if not live:
                continue
            for epoch in trainer.advance():
                ended = _take_in(live[epoch.key], epoch, reporter, medians, trainer, spec, arrays)
                if ended:
                    trainer.remove(epoch.key)
                    del live[epoch.key]
    except Exception as error:
        reason = f"error: {type(error).__name__}: {error}"
        raise
    finally:
        left = [running.trial for running in live.values()]
        for trial in left + [asked.trial for asked in asker.close()]:
            _fail(reporter, trial, reason)
        reporter.close()


def trial_seed(study_seed: int, trial_number: int) -> int:
    """Return the seed of a trial's weights, dropout and shuffling, in 31 bits."""
    state = np.random.SeedSequence([study_seed, trial_number]).generate_state(1)
    return int(state[0] >> 1)


def _fill_slots(
    live: dict[int, LiveTrial],
    asker: Asker,
    trainer: Trainer,
    spec: WorkerSpec,
    arrays: SearchArrays,
) -> None:
    """Put trials that were asked for into free slots; wait for one only when all are free."""
    while trainer.n_heads < trainer.n_slots:
        asked = asker.take(timeout_s=0 if live else WAIT_S)
        if asked is None:
            return
        number = asked.trial.number
        seed = trial_seed(spec.config.study.seed, number)
        live[number] = LiveTrial(asked.trial)
        trainer.add(number, asked.params, seed, arrays.train_rows, arrays.valid_rows)


def _take_in(
    running: LiveTrial,
    epoch: Epoch,
    reporter: Reporter,
    medians: Medians,
    trainer: Trainer,
    spec: WorkerSpec,
    arrays: SearchArrays,
) -> bool:
    """Report an epoch; tell the trial and return True when it was the last."""
    if epoch.ending is Ending.DIVERGED:
        reason = f"{DIVERGED}: the loss was not finite in epoch {epoch.step + 1}"
        _fail(reporter, running.trial, reason, _describe(running))
        return True
    running.values[epoch.step] = epoch.value
    new = {epoch.step: epoch.value}
    if medians.should_prune(running.values):
        reporter.send(running.trial, new, _describe(running), Ended(TrialState.PRUNED))
        return True
    if epoch.ending is None:
        reporter.send(running.trial, new)
        return False
    measured = average_precision(
        arrays.labels[arrays.valid_rows],
        trainer.logits(epoch.key, arrays.valid_rows),
        spec.label_names,
    )
    attrs = {
        **_describe(running),
        "ap_weighted": round(measured.ap_weighted, 6),
        "ap_macro": round(measured.ap_macro, 6),
    }
    best_value = min(running.values.values())
    reporter.send(running.trial, new, attrs, Ended(TrialState.COMPLETE, best_value))
    return True


def _describe(running: LiveTrial) -> dict[str, float]:
    seconds = round(time.monotonic() - running.started, 3)
    return {"epochs": len(running.values), "seconds": seconds}


def _fail(
    reporter: Reporter, trial: Trial, reason: str, attrs: dict[str, float] | None = None
) -> None:
    logger.warning("Trial %d failed: %s", trial.number, reason)
    reporter.send(trial, attrs={**(attrs or {}), FAILURE: reason}, ended=Ended(TrialState.FAIL))
