"""Create, load and read a study: the only truth about trials."""

import json
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study
from optuna.trial import TrialState
from sqlalchemy import Connection, func, select

from shared.config.sweep import SweepConfig, parse_config
from shared.errors import InputError
from shared.study.attributes import CONFIG, DATA, FINGERPRINT, LIMITS, SEARCH_S, UUID, Limits
from shared.study.liveness import alone
from shared.study.objectives import direction_of, rank
from shared.study.pruning import build_pruner
from shared.study.sampler.tpe import TRIALS_PER_CHANGE, FastTPESampler
from shared.study.tables.count import BestTrial, TrialTally
from shared.study.tables.read import id_of
from shared.study.tables.study import read_user_attr, write_user_attrs
from shared.study.tables.study_storage import StudyStorage, storage_of

_CREATING = 0x7461_6776
"""The class of the advisory locks in PostgreSQL under which studies are created, by name."""


@dataclass(frozen=True)
class StudyProgress:
    """How many trials of a study are in which state, and its best one."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int
    best: BestTrial | None

    @property
    def finished(self) -> int:
        """Trials that count towards the budget."""
        return self.complete + self.pruned


def open_study(
    storage: StudyStorage,
    name: str,
    config: SweepConfig,
    fingerprint: str,
    parts: Mapping[str, str] = MappingProxyType({}),
) -> Study:
    """Create the study, or load it and check that it is about the same data and the same space.

    The fingerprint is that of all the data; `parts` names and hashes what it consists of, causes
    before consequences. A study that is there is not changed (see `accept_config`). Processes that
    create it at once all get the same one, and none is left half made. Raises InputError that says
    what differs.
    """
    storage.transact(
        lambda connection: _create_once(storage, connection, name, config, fingerprint, parts)
    )
    study = optuna.load_study(storage=storage, study_name=name)
    existing = read_config(storage, name)
    if existing is not None:
        require_same_settings(name, existing, config)
    if study.user_attrs[FINGERPRINT] != fingerprint:
        raise refusal(name, [_changed_part(study.user_attrs.get(DATA, {}), parts)])
    return study


def accept_config(study: Study, storage: StudyStorage, config: SweepConfig) -> None:
    """Have the study go on with a configuration and its limits; only its driver may."""
    study_id = id_of(study)
    attrs = {CONFIG: _dump(config), **limits_of(config).attrs}
    # Alone, so that nobody hands out a trial by the limits before.
    alone(storage, study_id, lambda connection: write_user_attrs(connection, study_id, attrs))


def accept_outcome(study: Study, storage: StudyStorage, config: SweepConfig) -> None:
    """Have the study say how its ensemble is made; only who makes it may.

    All else is its driver's to say, who may search meanwhile.
    """
    study_id = id_of(study)

    def work(connection: Connection) -> None:
        values = json.loads(read_user_attr(connection, study_id, CONFIG))
        asked = config.model_dump(mode="json", include={"ensemble", "decisions"})
        write_user_attrs(connection, study_id, {CONFIG: json.dumps(values | asked)})

    alone(storage, study_id, work)


def limits_of(config: SweepConfig) -> Limits:
    """Return when a search with this configuration ends."""
    return Limits(config.study.n_trials, config.study.timeout_s, config.study.target_value)


def _create_once(
    storage: StudyStorage,
    connection: Connection,
    name: str,
    config: SweepConfig,
    fingerprint: str,
    parts: Mapping[str, str],
) -> None:
    """Create the study with all that it says of itself, unless it is there."""
    connection.execute(select(func.pg_advisory_xact_lock(_CREATING, func.hashtext(name))))
    inner = storage.within(connection)
    try:
        if name in optuna.get_all_study_names(inner):
            return
        directions = [direction_of(objective) for objective in config.study.objective]
        study = optuna.create_study(storage=inner, study_name=name, directions=directions)
        with warnings.catch_warnings():
            # Experimental since Optuna 3.2; it only labels the dashboard's axes.
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(list(config.study.objective))
        attrs = {
            CONFIG: _dump(config),
            FINGERPRINT: fingerprint,
            UUID: uuid4().hex,
            DATA: dict(parts),
            SEARCH_S: 0.0,
            **limits_of(config).attrs,
        }
        for key, value in attrs.items():
            study.set_user_attr(key, value)
    finally:
        inner.remove_session()


def _dump(config: SweepConfig) -> str:
    return json.dumps(config.model_dump(mode="json"))


def read_config(storage: StudyStorage, name: str) -> SweepConfig | None:
    """Return the configuration that a study was last run with, or None when there is no study."""
    attrs = read_attrs(storage, name)
    if attrs is None:
        return None
    if CONFIG not in attrs or FINGERPRINT not in attrs:
        raise InputError(
            f"Study {name!r} was not made by tagsweep. Choose another name with --study-name."
        )
    if LIMITS not in attrs or UUID not in attrs:
        raise InputError(
            f"Study {name!r} was made by an earlier version of tagsweep, which can finish it."
            " Start anew with another --run-dir or --study-name."
        )
    return parse_config(json.loads(attrs[CONFIG]), f"study {name!r}")


def read_attrs(storage: StudyStorage, name: str) -> dict[str, Any] | None:
    """Return what a study says of itself, its user attributes, or None when there is no study."""
    if name not in optuna.get_all_study_names(storage):
        return None
    return optuna.load_study(storage=storage, study_name=name).user_attrs


def load_study(
    storage: StudyStorage,
    name: str,
    config: SweepConfig,
    trials_per_change: float = TRIALS_PER_CHANGE,
) -> Study:
    """Load a study to ask trials of it.

    What is suggested for a trial follows from the study's seed, the trial's number and what the
    sampler knows by then, whichever worker asks. Running trials count as bad ones (Optuna's
    `constant_liar`), so that workers do not try the same at a time.
    Of several objectives the good trials are the first Pareto fronts (Ozaki et al. 2022,
    "Multiobjective Tree-structured Parzen Estimator").
    """
    study = optuna.load_study(storage=storage, study_name=name)
    n_startup_trials = config.study.sampler.n_startup_trials
    study.sampler = FastTPESampler(config.study.seed, n_startup_trials, trials_per_change)
    study.pruner = build_pruner(config.study.pruner)
    return study


def read_progress(study: Study, tally: TrialTally | None = None) -> StudyProgress:
    """Count the trials of a study; `tally` is what the caller knows from one call to the next."""
    known = tally or TrialTally(id_of(study))

    def read(connection: Connection) -> StudyProgress:
        return _progress(known.count(connection), known.best(connection))

    return storage_of(study).transact(read)


def progress_of(study: Study) -> StudyProgress:
    """Count the trials of a study, in whatever storage, for who reads them all anyway."""
    trials, directions = study.get_trials(deepcopy=False), study.directions
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    first = min(complete, key=lambda t: (rank(t.values, directions), t.number), default=None)
    return _progress(
        Counter(trial.state for trial in trials),
        None if first is None else BestTrial(first._trial_id, first.number, tuple(first.values)),  # noqa: SLF001
    )


def _progress(counts: Counter[TrialState], best: BestTrial | None) -> StudyProgress:
    return StudyProgress(
        complete=counts[TrialState.COMPLETE],
        pruned=counts[TrialState.PRUNED],
        failed=counts[TrialState.FAIL],
        running=counts[TrialState.RUNNING],
        waiting=counts[TrialState.WAITING],
        best=best,
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
