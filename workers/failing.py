"""Decide what an error in training means for its trials and for the search.

A trial that an error ends is FAIL, with the reason and the place in the attribute `failure`, and
does not count towards the budget. An error of the program would meet every trial alike: at the
third trial of a study with the same error from the same place, the search ends. Trials that
diverge or need too much memory are the search space's: they end it only when there are as many as
the budget has (`shared.search.budget.ask`).
"""

import traceback

from optuna.study import Study
from optuna.trial import TrialState

from shared.search.budget import OUT_OF_MEMORY
from shared.search.study import FAILURE

MAX_SAME_ERRORS = 3
"""Trials that the same error may end before it ends the search."""


def reason_of(error: Exception) -> str:
    """Say what ended a trial; up to the second colon, it is the same for the same error."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"{OUT_OF_MEMORY}: {text}"
    *_, place = traceback.extract_tb(error.__traceback__)
    return f"error: {type(error).__name__} in {place.name}, line {place.lineno}: {text}"


def is_last_straw(study: Study, reason: str, failed_here: set[int]) -> bool:
    """Say whether the same error of the program has now ended as many trials as may be.

    `failed_here` are ids of trials that this worker has failed for this reason, whether or not the
    study knows already.
    """
    if reason.startswith(OUT_OF_MEMORY):
        return False
    kind = kind_of(reason)
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    known = {t._trial_id for t in failed if kind_of(t.user_attrs.get(FAILURE, "")) == kind}  # noqa: SLF001  has no public name
    return len(known | failed_here) >= MAX_SAME_ERRORS


def kind_of(reason: str) -> str:
    """Return what two failures for the same cause have in common."""
    return ":".join(reason.split(":")[:2])
