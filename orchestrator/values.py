"""Say the values of trials for a person."""

from collections.abc import Sequence

LARGE = 1000
"""The value from which on the digits after the point say nothing."""


def say_value(value: float) -> str:
    """Say one value."""
    return f"{value:,.0f}" if abs(value) >= LARGE else f"{value:.4f}"


def say_values(objectives: Sequence[str], values: Sequence[float]) -> str:
    """Say a trial's values, each by the name of its objective where there are several."""
    if len(values) == 1:
        return say_value(values[0])
    return ", ".join(
        f"{name} {say_value(value)}" for name, value in zip(objectives, values, strict=True)
    )
