"""Live a worker's life: open the study, fetch the arrays, pull trials until there are no more."""

import logging
import time
from collections.abc import Callable

import optuna

from shared.errors import TagsweepError
from shared.search.budget import ask, is_spent
from shared.search.storage import open_storage
from shared.search.study import FINGERPRINT, WORKER, fail_running_trials, load_study
from shared.training.fit import to_device
from workers.objective import run_trial
from workers.spec import SearchArrays, WorkerSpec

RETRY_ASK_S = 0.5
"""How long a worker waits when the budget is filled by trials that others still run."""

logger = logging.getLogger(__name__)


def run_worker(
    spec: WorkerSpec, arrays: SearchArrays, number: int, should_stop: Callable[[], bool]
) -> None:
    """Pull trials until the budget is spent or `should_stop()` says so.

    `number` is unique among the workers alive. A worker that starts again under the same number
    first fails the trial that its predecessor left. Raises TagsweepError when the study is about
    other data than the arrays.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = f"worker-{number}"
    storage = open_storage(spec.storage_url)
    study = load_study(storage, spec.study_name, spec.config, number)
    if study.user_attrs[FINGERPRINT] != spec.fingerprint:
        raise TagsweepError(
            f"{name} was sent data with fingerprint {spec.fingerprint[:12]}, but study"
            f" {spec.study_name!r} is about {study.user_attrs[FINGERPRINT][:12]}."
        )
    fail_running_trials(study, storage, f"lost: {name} died and was started again", worker=name)
    data = to_device(arrays.vectors, arrays.labels, arrays.train_rows, arrays.valid_rows)
    n_trials = spec.config.study.n_trials
    while not should_stop():
        trial = ask(study, storage, n_trials)
        if trial is not None:
            trial.set_user_attr(WORKER, name)
            run_trial(study, trial, spec, data, should_stop)
        elif is_spent(study, n_trials):
            break
        else:
            time.sleep(RETRY_ASK_S)
    storage.remove_session()
    storage.engine.dispose()
