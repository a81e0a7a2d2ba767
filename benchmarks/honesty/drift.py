"""Measure how often data that has not changed is called drift, because texts in it repeat."""

import numpy as np
import numpy.typing as npt

from orchestrator.bundle.drift import text_drift
from orchestrator.bundle.reference import take_reference
from orchestrator.data.duplicates import first_rows, hash_texts

N_ROWS = 400
"""Rows of either side."""
LEVEL = 0.05


Floats = npt.NDArray[np.float32]


def drift_alarms(vectors: Floats, repeated: float, n_runs: int) -> float:
    """Return the share of runs that are called drift, a share of whose new rows repeat another.

    `vectors` are those of distinct texts.
    """
    return float(np.mean([_p_value(vectors, repeated, seed) < LEVEL for seed in range(n_runs)]))


def _p_value(vectors: Floats, repeated: float, seed: int) -> float:
    rng = np.random.default_rng(seed)
    n_distinct = N_ROWS - round(repeated * N_ROWS)
    drawn = rng.choice(len(vectors), N_ROWS + n_distinct, replace=False)
    known, new = drawn[:N_ROWS], drawn[N_ROWS:]
    new = np.concatenate([new, rng.choice(new, N_ROWS - n_distinct)])
    distinct = new[first_rows(new, np.arange(N_ROWS))]
    labels = np.zeros((len(vectors), 1), dtype=np.float32)
    reference = take_reference(vectors, labels, known, hash_texts([]), seed)
    return text_drift(reference, vectors[distinct], seed).p_value
