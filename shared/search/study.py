"""Create, load and read a study: the only truth about trials."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from shared.config import SweepConfig, parse_config
from shared.errors import InputError
from shared.search.bulk_read import count_trials, id_of
from shared.search.objectives import direction_of, rank
from shared.search.pruning import build_pruner
from shared.search.tpe import FastTPESampler

# What a study says of itself: its user attributes.
CONFIG = "config"
FINGERPRINT = "fingerprint"
UUID = "uuid"
"""What tells a study from all others, on whatever server, that one store may hold files of."""
DATA = "data"
SEARCH_S = "search_s"
STORE = "store"
VERSIONS = "versions"
LABELS = "labels"
CHOSEN_TRIAL = "ensemble of trial"
"""The number of the trial that somebody has named for the ensemble."""

# What a trial says of itself: its user attributes, named as people read them.
AP_WEIGHTED = "average precision (weighted)"
AP_MACRO = "average precision (macro)"
EPOCHS = "epochs"
SECONDS = "seconds"
BY_FOLD = "values by fold"
"""What each objective was on the folds that a trial is through, by the objective's name."""
WORKER = "worker"
NODE = "node"
FAILURE = "failure"
RETRY_OF = "retry of"
"""The number of the trial that was first, on one that runs again."""
RESUMED_AT = "resumed at epoch"
"""How many epochs a trial that runs again did not have to train again."""

CHECKPOINTS = "checkpoints"
"""The system attribute of a trial that runs again with the trial ids whose checkpoint it may go on
from, the latest first: not every run of a trial got as far as to one."""


@dataclass(frozen=True)
class StudyProgress:
    """Count the trials of a study by state; `best` is the complete trial that ranks first."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int
    best: FrozenTrial | None

    @property
    def finished(self) -> int:
        """Trials that count towards the budget."""
        return self.complete + self.pruned


def open_study(
    storage: RDBStorage,
    name: str,
    config: SweepConfig,
    fingerprint: str,
    parts: Mapping[str, str] = MappingProxyType({}),
) -> Study:
    """Create the study, or load it and check that it is about the same data and the same space.

    The fingerprint is that of all the data; `parts` names and hashes what it consists of, causes
    before consequences. Raises InputError that says what differs; nothing has been changed then.
    """
    existing = read_config(storage, name)
    if existing is None:
        directions = [direction_of(objective) for objective in config.study.objective]
        study = optuna.create_study(storage=storage, study_name=name, directions=directions)
        with warnings.catch_warnings():
            # Experimental since Optuna 3.2; it only labels the dashboard's axes.
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(list(config.study.objective))
        study.set_user_attr(FINGERPRINT, fingerprint)
        study.set_user_attr(UUID, uuid4().hex)
        study.set_user_attr(DATA, dict(parts))
        study.set_user_attr(SEARCH_S, 0.0)
    else:
        study = optuna.load_study(storage=storage, study_name=name)
        require_same_settings(name, existing, config)
        if study.user_attrs[FINGERPRINT] != fingerprint:
            raise refusal(name, [_changed_part(study.user_attrs.get(DATA, {}), parts)])
    study.set_user_attr(CONFIG, json.dumps(config.model_dump(mode="json")))
    return study


def read_config(storage: RDBStorage, name: str) -> SweepConfig | None:
    """Return the configuration that a study was last run with, or None when there is no study."""
    attrs = read_attrs(storage, name)
    if attrs is None:
        return None
    if CONFIG not in attrs or FINGERPRINT not in attrs:
        raise InputError(
            f"Study {name!r} was not made by tagsweep. Choose another name with --study-name."
        )
    return parse_config(json.loads(attrs[CONFIG]), f"study {name!r}")


def read_attrs(storage: RDBStorage, name: str) -> dict[str, Any] | None:
    """Return what a study says of itself, its user attributes, or None when there is no study."""
    if name not in optuna.get_all_study_names(storage):
        return None
    return optuna.load_study(storage=storage, study_name=name).user_attrs


def load_study(storage: RDBStorage, name: str, config: SweepConfig, worker: int) -> Study:
    """Load a study to ask trials of it.

    The sampler is seeded from the study's seed, the worker's number and the trials there are, so
    that workers differ from each other and a resumed worker does not repeat itself. Running trials
    count as bad ones (Optuna's `constant_liar`), so that workers do not try the same at a time.
    Several objectives are left to Optuna's own TPE (Ozaki et al. 2022, "Multiobjective
    Tree-structured Parzen Estimator").
    """
    study = optuna.load_study(storage=storage, study_name=name)
    with storage.engine.begin() as connection:
        n_trials = count_trials(connection, id_of(study)).total()
    seeds = np.random.SeedSequence([config.study.seed, worker, n_trials])
    seed, n_startup_trials = int(seeds.generate_state(1)[0]), config.study.sampler.n_startup_trials
    if config.study.is_multi_objective:
        study.sampler = TPESampler(seed=seed, n_startup_trials=n_startup_trials, constant_liar=True)
    else:
        study.sampler = FastTPESampler(seed, n_startup_trials)
    study.pruner = build_pruner(config.study.pruner)
    return study


def read_progress(study: Study) -> StudyProgress:
    """Count the trials of a study."""
    trials = study.get_trials(deepcopy=False)
    counts = {state: sum(t.state == state for t in trials) for state in TrialState}
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    directions = study.directions
    return StudyProgress(
        complete=counts[TrialState.COMPLETE],
        pruned=counts[TrialState.PRUNED],
        failed=counts[TrialState.FAIL],
        running=counts[TrialState.RUNNING],
        waiting=counts[TrialState.WAITING],
        best=min(complete, key=lambda t: (rank(t.values, directions), t.number), default=None),
    )


def require_same_settings(name: str, old: SweepConfig, new: SweepConfig) -> None:
    """Raise InputError when a configuration would make another study of the one there is."""
    differing = [
        f"{key} was {before!r} and is {after!r}"
        for key, before, after in _differences(_identity(old), _identity(new))
    ]
    if differing:
        raise refusal(name, differing)


def refusal(name: str, differing: list[str]) -> InputError:
    """Return the error that says why a study cannot go on."""
    return InputError(
        f"Study {name!r} cannot go on, because {'; '.join(differing)}."
        " Undo the change, or start anew with another --run-dir or --study-name."
    )


def _changed_part(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Name the first part that differs: what follows from it does as well."""
    changed = (part for part, value in new.items() if old.get(part, value) != value)
    return f"{next(changed, 'something in its data')} changed"


def _identity(config: SweepConfig) -> dict[str, Any]:
    """Return what must not change while a study lives: where the CSV lies may, what it says not."""
    values = config.model_copy(update={"encoder": config.encoder.identity}).model_dump(
        mode="json",
        include={
            "data": True,
            "encoder": True,
            "space": True,
            "training": True,
            "study": {"seed", "objective", "n_folds", "n_repeats"},
        },
    )
    del values["data"]["csv"]
    values["encoders"] = [one.full_name for one in config.encoders]
    return values


def _differences(
    old: dict[str, Any], new: dict[str, Any], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    found = []
    for key, before in old.items():
        if isinstance(before, dict):
            found += _differences(before, new[key], f"{prefix}{key}.")
        elif before != new[key]:
            found.append((prefix + key, before, new[key]))
    return found
