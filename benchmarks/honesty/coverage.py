"""Measure how often an interval holds the true value, on rows of a known distribution."""

from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from orchestrator.evaluation.bootstrap import intervals
from orchestrator.evaluation.scores import Scores

DISTANCE = 1.5
"""How far the scores of rows with a label lie above the others', in standard deviations."""
FIGURES = ("ap_weighted", "ap_macro")
GRID = np.linspace(-8, 10, 20_001)


class Setting(NamedTuple):
    """So many test rows, and the shares of them that have each label."""

    n_rows: int
    shares: tuple[float, ...]


SETTINGS = (
    Setting(1000, (0.3, 0.1, 0.03)),
    Setting(300, (0.3, 0.1, 0.03)),
    Setting(200, (0.3, 0.05)),
    Setting(1600, (0.05, 0.02, 0.01, 0.005, 0.0025)),
)


def coverage(n_repetitions: int, pool: Executor) -> dict[str, dict[str, float]]:
    """Return for each setting the share of intervals that hold the true figure."""
    found = {}
    for setting in SETTINGS:
        jobs = [(setting, seed) for seed in range(n_repetitions)]
        held = np.array(list(pool.map(_is_held, jobs, chunksize=10)))
        shares = ", ".join(f"{share:.2%}" for share in setting.shares)
        found[f"{setting.n_rows} rows, {shares}"] = {
            figure: round(float(share), 3)
            for figure, share in zip(FIGURES, held.mean(axis=0), strict=True)
        }
    return found


def _is_held(job: tuple[Setting, int]) -> list[bool]:
    setting, seed = job
    rng = np.random.default_rng([setting.n_rows, seed])
    labels = (rng.random((setting.n_rows, len(setting.shares))) < setting.shares).astype(np.float32)
    probabilities = (DISTANCE * labels + rng.normal(size=labels.shape)).astype(np.float32)
    names = tuple(map(str, setting.shares))
    found = intervals(Scores(np.arange(setting.n_rows), labels, probabilities), names, seed)
    by_label = [_true_precision(share) for share in setting.shares]
    truth = np.average(by_label, weights=setting.shares), np.mean(by_label)
    ends = [found[figure] for figure in FIGURES]
    return [bool(low <= one <= high) for one, (low, high) in zip(truth, ends, strict=True)]


def _true_precision(share: float) -> float:
    """Return the average precision of infinitely many rows: the mean precision at a positive's."""
    hits, others = share * norm.sf(GRID - DISTANCE), (1 - share) * norm.sf(GRID)
    return float(np.trapezoid(hits / (hits + others) * norm.pdf(GRID - DISTANCE), GRID))
