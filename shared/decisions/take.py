"""Take decisions on probabilities."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def take(
    probabilities: npt.NDArray[np.floating], thresholds: Sequence[float] | None
) -> npt.NDArray[np.bool_]:
    """Decide on (n, L) probabilities: of labels by their thresholds, each by itself.

    Without thresholds they are those of classes, and the most probable one is it, the first of
    equal ones.
    """
    if thresholds is None:
        decisions = np.zeros(probabilities.shape, dtype=np.bool_)
        np.put_along_axis(decisions, probabilities.argmax(axis=1, keepdims=True), True, axis=1)
        return decisions
    return np.asarray(probabilities >= np.array(thresholds), dtype=np.bool_)
