"""Find the trials whose members the ensemble may have, the best first."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from orchestrator.data.prepare import hash_of
from orchestrator.runs.run import Run
from shared.errors import InputError, TagsweepError
from shared.study.attributes import CHOSEN_TRIAL, FINGERPRINT
from shared.study.objectives import rank
from shared.study.space import Widths, params_of
from shared.training.params import HeadParams, Task


@dataclass(frozen=True)
class Candidate:
    """Name a trial whose members the ensemble may have, and the key that they are kept under."""

    trial: int
    params: HeadParams
    key: str


def choose(study: Study, number: int | None) -> None:
    """Have the ensemble made of this trial alone from now on, also by whoever resumes.

    None: of the best again. Raises InputError unless the trial is complete.
    """
    if number is not None:
        found = next((t for t in study.get_trials(deepcopy=False) if t.number == number), None)
        if found is None or found.state is not TrialState.COMPLETE:
            what = "there is none" if found is None else f"it is {found.state.name}"
            raise InputError(
                f"Trial {number} of study {study.study_name!r} must be complete, but {what}."
                " `tagsweep export` lists the trials."
            )
    if study.user_attrs.get(CHOSEN_TRIAL) != number:
        study.set_user_attr(CHOSEN_TRIAL, number)


def is_alone(study: Study) -> bool:
    """Say whether the ensemble is to be made of one chosen trial, and of nothing else."""
    return study.user_attrs.get(CHOSEN_TRIAL) is not None


def candidates_of(
    run: Run, study: Study, trials: Sequence[FrozenTrial], widths: Widths, task: Task
) -> list[Candidate]:
    """Say of trials, as `best_trials` returns them, what to train members of."""
    return [
        Candidate(
            trial.number,
            params_of(trial, run.config.space, widths, task),
            _key(run, study, trial.params),
        )
        for trial in trials
    ]


def best_trials(run: Run, study: Study) -> list[FrozenTrial]:
    """Return the best trial, or the `top_k` best of different parameters where it is not alone.

    The one that was chosen, if one was, is alone. Raises TagsweepError when no trial is complete.
    """
    number = study.user_attrs.get(CHOSEN_TRIAL)
    if number is not None:
        return [trial for trial in _best_first(study) if trial.number == number]
    config = run.config.ensemble
    n_wanted = 1 if config.source == "best" else config.top_k
    chosen: dict[str, FrozenTrial] = {}
    for trial in _best_first(study):
        if len(chosen) < n_wanted:
            chosen.setdefault(json.dumps(trial.params, sort_keys=True), trial)
    if not chosen:
        raise TagsweepError(
            "No trial completed, so there is nothing to make an ensemble of."
            " Give the search more trials (--n-trials) or more time (--timeout)."
        )
    return list(chosen.values())


def ensemble_key(run: Run, study: Study, trials: Sequence[FrozenTrial]) -> str:
    """Return the hash of all that the ensemble of trials, as `best_trials` says, depends on."""
    keys = [_key(run, study, trial.params) for trial in trials]
    return hash_of(json.dumps([keys, is_alone(study), run.config.ensemble.model_dump()]))


def _best_first(study: Study) -> list[FrozenTrial]:
    complete = [t for t in study.get_trials(deepcopy=False) if t.state is TrialState.COMPLETE]
    directions = study.directions
    return sorted(complete, key=lambda trial: (rank(trial.values, directions), trial.number))


def _key(run: Run, study: Study, params: dict[str, Any]) -> str:
    """Return the hash of all that a trial's members depend on, and nothing else."""
    settings = run.config.model_dump(
        mode="json", include={"space": True, "training": True, "ensemble": {"n_folds"}}
    )
    facts = [study.user_attrs[FINGERPRINT], params, settings, run.config.study.seed]
    return hash_of(json.dumps(facts, sort_keys=True))
