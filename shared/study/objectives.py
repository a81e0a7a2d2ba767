"""Compare trials by one objective or by several, as Optuna does."""

from collections.abc import Sequence

from optuna.study import StudyDirection

from shared.config.sections import Objective

MAXIMISED = ("ap_weighted", "ap_macro")
"""The objectives that are the better the greater they are."""


def direction_of(objective: Objective) -> StudyDirection:
    """Return which way an objective is better."""
    return StudyDirection.MAXIMIZE if objective in MAXIMISED else StudyDirection.MINIMIZE


def rank(values: Sequence[float], directions: Sequence[StudyDirection]) -> tuple[float, ...]:
    """Return what sorts trials, the best first: by the first objective, equal ones by the next.

    The first of all is on the Pareto front, since none is better in one objective and as good in
    the others.
    """
    pairs = zip(values, directions, strict=True)
    return tuple(-value if way is StudyDirection.MAXIMIZE else value for value, way in pairs)


def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Say by their ranks whether a trial is nowhere worse than another, and somewhere better."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
