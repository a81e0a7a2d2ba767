"""Keep what was said of labelled rows, so that it can be looked at again without the models."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.files import writing


@dataclass(frozen=True)
class Scores:
    """Hold n rows and what a model said of them.

    `rows` is (n,) int64, numbers of the data's rows from 0; `labels` is (n, L) float32, 0 or 1;
    `probabilities` is (n, L) float32.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]


def write_scores(path: Path, scores: Mapping[str, Scores]) -> None:
    """Write named scores into one file, atomically."""
    arrays = {
        f"{name}.{field.name}": getattr(one, field.name)
        for name, one in scores.items()
        for field in fields(Scores)
    }
    with writing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **arrays)


def read_scores(path: Path) -> dict[str, Scores]:
    """Read what write_scores wrote."""
    with np.load(path, allow_pickle=False) as found:
        names = dict.fromkeys(key.partition(".")[0] for key in found)
        return {
            name: Scores(**{field.name: found[f"{name}.{field.name}"] for field in fields(Scores)})
            for name in names
        }
