"""Live a worker's life: open the study, fetch the arrays, pull trials until there are no more."""

import logging
import math
import socket
from collections.abc import Callable

import numpy as np
import optuna
from optuna.study import Study

from shared.errors import TagsweepError
from shared.study.attributes import FINGERPRINT, Failure, FailureKind, Owner
from shared.study.liveness import owners_of_running, retry
from shared.study.patience import MAX_OUTAGE_S
from shared.study.sampler.tpe import TRIALS_PER_CHANGE
from shared.study.space import all_inputs
from shared.study.study import load_study
from shared.study.tables.read import id_of
from shared.study.tables.storage import open_storage
from shared.study.tables.study_storage import StudyStorage
from shared.training.capacity import auto_slots
from shared.training.matrix import Matrix
from shared.training.trainer import Trainer
from shared.versions import require_versions
from workers.slots import open_bench, run_trials
from workers.spec import SearchArrays, WorkerSpec

SLOTS_PER_ASK_AHEAD = 4
"""A trial is asked for ahead for each so many slots: the more at a time, the less each costs."""

logger = logging.getLogger(__name__)


def run_worker(
    spec: WorkerSpec,
    arrays: SearchArrays,
    name: str,
    should_stop: Callable[[], bool],
) -> None:
    """Pull trials until the budget is spent or `should_stop()` says so.

    A worker of a driver's pool that starts again first has the trials run again that its
    predecessor of the same name left. Raises TagsweepError when the study is about other data than
    the arrays, or the driver has other versions of what computes its numbers.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    require_versions(spec.versions, f"{name} on {socket.gethostname()}")
    owner = Owner(name, spec.driver_id)
    trainer = _make_trainer(spec, arrays)
    # One trial at a time costs little to repeat exactly: each is asked for when the one before is
    # known. Others race for what they know.
    is_exact = spec.config.workers.is_single and trainer.n_slots == 1
    study, storage = _open_study(spec, owner, math.inf if is_exact else TRIALS_PER_CHANGE)
    n_ahead = 0 if is_exact else max(1, trainer.n_slots // SLOTS_PER_ASK_AHEAD)
    run_trials(open_bench(study, storage, spec, arrays, trainer, owner, n_ahead), should_stop)
    storage.remove_session()
    storage.engine.dispose()


def _open_study(
    spec: WorkerSpec, owner: Owner, trials_per_change: float
) -> tuple[Study, StudyStorage]:
    """Open the study, and take over from a predecessor in the same place of the same pool."""
    storage = open_storage(spec.storage_url, wait_s=MAX_OUTAGE_S)
    study = load_study(storage, spec.study_name, spec.config, trials_per_change)
    if study.user_attrs[FINGERPRINT] != spec.fingerprint:
        raise TagsweepError(
            f"{owner.worker} was sent data with fingerprint {spec.fingerprint[:12]}, but study"
            f" {spec.study_name!r} is about {study.user_attrs[FINGERPRINT][:12]}."
        )
    if owner.driver is not None:
        running = owners_of_running(storage, id_of(study))
        left = [trial_id for trial_id, other in running.items() if other == owner]
        reason = f"lost: {owner.worker} died and was started again"
        failure = Failure(FailureKind.LOST, reason)
        retry(storage, id_of(study), left, failure, spec.config.workers.max_retries)
    return study, storage


def _make_trainer(spec: WorkerSpec, arrays: SearchArrays) -> Trainer:
    space, n_slots = spec.config.space, spec.config.workers.pack
    widths = arrays.widths_by_name(spec.config)
    matrix = Matrix(
        arrays.vectors,
        arrays.labels,
        spec.config.training.matrix_dtype,
        widths=widths,
        known_rows=np.unique(np.concatenate([train for train, _ in arrays.folds])),
        inputs=all_inputs(space, widths),
    )
    if n_slots == "auto":
        n_slots = auto_slots(
            matrix.n_inputs,
            matrix.n_labels,
            space.n_layers.high,
            space.max_units or max(widths.values()),
            space.batch_size.high,
            max(len(train) for train, _ in arrays.folds),
        )
        logger.info("Training %d heads at a time", n_slots)
    return Trainer(
        matrix, spec.config.training, n_slots, space.batch_size.high, space.n_layers.high
    )
