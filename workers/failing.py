"""Decide what an error in training means for its trials and for the search.

A trial that an error ends is FAIL, with the reason and the place in its attributes, and does not
count towards the budget. An error of the program would meet every trial alike: at the third trial
of a study with the same error from the same place, the search ends. Trials that diverge or need too
much memory are the search space's: they end it only when there are as many as the budget has
(`shared.study.budget.ask`).
"""

import traceback

from shared.study.attributes import FAILURE_CAUSE, Failure, FailureKind
from shared.study.tables.count import count_failed
from shared.study.tables.study_storage import StudyStorage

MAX_SAME_ERRORS = 3
"""Trials that the same error may end before it ends the search."""


def failure_by(error: Exception) -> Failure:
    """Return how an error has ended a trial."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return Failure(FailureKind.OUT_OF_MEMORY, f"{FailureKind.OUT_OF_MEMORY}: {text}")
    *_, place = traceback.extract_tb(error.__traceback__)
    cause = f"{type(error).__name__} in {place.name}, line {place.lineno}"
    return Failure(FailureKind.ERROR, f"error: {cause}: {text}", cause)


def is_last_straw(
    storage: StudyStorage, study_id: int, failure: Failure, failed_here: set[int]
) -> bool:
    """Say whether the same error of the program has now ended as many trials as may be.

    `failed_here` are ids of trials that this worker has failed by it, whether or not the study
    knows already.
    """
    if failure.kind is not FailureKind.ERROR:
        return False
    elsewhere = storage.transact(
        lambda connection: count_failed(
            connection, study_id, FAILURE_CAUSE, failure.cause, failed_here
        )
    )
    return elsewhere + len(failed_here) >= MAX_SAME_ERRORS
