"""Say the values of trials, and times, for a person."""

from collections.abc import Sequence
from itertools import pairwise

LARGE = 1000
"""The value from which on the digits after the point say nothing."""

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
"""Units of time, in seconds."""


def say_value(value: float) -> str:
    """Say one value."""
    return f"{value:,.0f}" if abs(value) >= LARGE else f"{value:.4f}"


def say_values(objectives: Sequence[str], values: Sequence[float]) -> str:
    """Say a trial's values, each by the name of its objective where there are several.

    Without a trial there are none, and nothing is said.
    """
    if not values:
        return ""
    if len(values) == 1:
        return say_value(values[0])
    return ", ".join(
        f"{name} {say_value(value)}" for name, value in zip(objectives, values, strict=True)
    )


def describe_s(seconds: float) -> str:
    """Say a time in its two largest units."""
    whole_s = round(seconds)
    for (unit, unit_s), (smaller, smaller_s) in pairwise(UNITS):
        if whole_s >= unit_s:
            return f"{whole_s // unit_s} {unit} {whole_s % unit_s // smaller_s} {smaller}"
    return f"{whole_s} s"
