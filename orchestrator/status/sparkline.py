"""Draw how a value has gone as a line of characters."""

from collections.abc import Sequence

import numpy as np

from orchestrator.status.study_reader import Improvement

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN_BLOCKS = "_.-=+*#@"
"""The levels where the encoding has no blocks."""


def spark(values: Sequence[float], blocks: str) -> str:
    """Draw values as characters of rising height, the least as the lowest."""
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(blocks) - 1) / (high - low) if high > low else 0.0
    return "".join(blocks[round((value - low) * scale)] for value in values)


def best_so_far(improvements: Sequence[Improvement], n_finished: int, n: int) -> list[float]:
    """Return the best value at `n` even points of the finished trials, at most one a trial."""
    if not improvements:
        return []
    first = improvements[0].n_finished
    points = np.linspace(first, n_finished, min(n, n_finished - first + 1)).round()
    steps = [improvement.n_finished for improvement in improvements]
    places = np.searchsorted(steps, points, side="right") - 1
    return [improvements[place].value for place in places]
