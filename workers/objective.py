"""Run one trial: suggest, fit, report, prune, tell. Optuna and Keras meet here."""

import logging
import time
from collections.abc import Callable

import numpy as np
from optuna.study import Study
from optuna.trial import Trial, TrialState

from shared.search.budget import DIVERGED
from shared.search.space import suggest
from shared.search.study import FAILURE
from shared.training.fit import Ending, FitData, FitResult, fit, predict_logits
from shared.training.metrics import average_precision
from workers.spec import WorkerSpec

logger = logging.getLogger(__name__)


def run_trial(
    study: Study,
    trial: Trial,
    spec: WorkerSpec,
    data: FitData,
    should_stop: Callable[[], bool],
) -> None:
    """Run a trial to one of its endings: COMPLETE, PRUNED, or FAIL with its reason.

    An error of the program is told as a failure too, and raised again: the next trial would meet
    it as well.
    """
    started = time.monotonic()
    pruned = False

    def on_epoch(step: int, value: float) -> bool:
        nonlocal pruned
        trial.report(value, step)
        pruned = trial.should_prune()
        return not (pruned or should_stop())

    try:
        params = suggest(trial, spec.config.space, data.vectors.shape[1])
        seed = trial_seed(spec.config.study.seed, trial.number)
        result = fit(params, data, spec.config.training, seed, on_epoch)
        trial.set_user_attr("epochs", len(result.values))
        trial.set_user_attr("seconds", round(time.monotonic() - started, 3))
        if result.ending is Ending.DIVERGED:
            _fail(
                study, trial, f"{DIVERGED}: the loss was not finite in epoch {len(result.values)}"
            )
        elif pruned:
            study.tell(trial, state=TrialState.PRUNED)
        elif result.ending is Ending.STOPPED:
            _fail(study, trial, "interrupted: the search was stopped")
        else:
            _report_average_precision(trial, result, spec, data)
            study.tell(trial, result.best_value)
    except Exception as error:
        _fail(study, trial, f"error: {type(error).__name__}: {error}")
        raise


def trial_seed(study_seed: int, trial_number: int) -> int:
    """Return the seed of a trial's weights, dropout and shuffling, in 31 bits."""
    state = np.random.SeedSequence([study_seed, trial_number]).generate_state(1)
    return int(state[0] >> 1)


def _report_average_precision(
    trial: Trial, result: FitResult, spec: WorkerSpec, data: FitData
) -> None:
    logits = predict_logits(result.head, data.vectors, data.valid_rows)
    labels = np.take(data.labels.numpy(), data.valid_rows, axis=0)
    measured = average_precision(labels, logits, spec.label_names)
    trial.set_user_attr("ap_weighted", round(measured.ap_weighted, 6))
    trial.set_user_attr("ap_macro", round(measured.ap_macro, 6))


def _fail(study: Study, trial: Trial, reason: str) -> None:
    logger.warning("Trial %d failed: %s", trial.number, reason)
    trial.set_user_attr(FAILURE, reason)
    study.tell(trial, state=TrialState.FAIL)
