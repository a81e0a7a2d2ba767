"""Choose the trial that the ensemble is made of."""

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from shared.errors import InputError, TagsweepError
from shared.search.study import CHOSEN_TRIAL, read_progress


def choose(study: Study, number: int | None) -> None:
    """Have the ensemble made of a trial from now on, also by whoever resumes; None: of the best.

    Raises InputError unless the trial is complete.
    """
    if number is not None:
        trials = study.get_trials(deepcopy=False)
        found = next((trial for trial in trials if trial.number == number), None)
        if found is None or found.state is not TrialState.COMPLETE:
            what = "there is none" if found is None else f"it is {found.state.name}"
            raise InputError(
                f"Trial {number} of study {study.study_name!r} must be complete, but {what}."
                " `tagsweep export` lists the trials."
            )
    if study.user_attrs.get(CHOSEN_TRIAL) != number:
        study.set_user_attr(CHOSEN_TRIAL, number)


def is_chosen(study: Study) -> bool:
    """Say whether somebody has named the trial, whatever the best one is."""
    return study.user_attrs.get(CHOSEN_TRIAL) is not None


def chosen_trial(study: Study) -> FrozenTrial:
    """Return the trial that was named, or the best complete one.

    Raises TagsweepError when no trial is complete.
    """
    number = study.user_attrs.get(CHOSEN_TRIAL)
    if number is not None:
        return study.get_trials(deepcopy=False)[int(number)]
    best = read_progress(study).best
    if best is None:
        raise TagsweepError(
            "No trial completed, so there is nothing to make an ensemble of."
            " Give the search more trials (--n-trials) or more time (--timeout)."
        )
    return best
