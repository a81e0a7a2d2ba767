"""Keep what a head's training goes on from, so that it ends as if it had not been interrupted."""

import io
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.training.head import Weights
from shared.training.schedule import Progress

_WEIGHTS = ("weights", "first", "second", "best")


@dataclass(frozen=True)
class Snapshot:
    """Hold a head in training, in whatever slot of whatever pack it was.

    `weights`, the optimizer's moments `first` and `second`, and the `best` weights are in the
    order of `keras.Sequential.get_weights`; `product` is Nadam's. `order` (n,) int32 are the rows
    of the pass under way, `position` how many of them were seen, `step` the updates so far.
    `random` is the state of the generator that shuffles.
    """

    weights: Weights
    first: Weights
    second: Weights
    best: Weights
    product: float
    order: npt.NDArray[np.int32]
    position: int
    step: int
    progress: Progress
    random: dict[str, Any]


def to_bytes(snapshot: Snapshot, facts: dict[str, Any]) -> bytes:
    """Write a snapshot and some facts of the caller's; no pickle, so reading it runs no code."""
    arrays: dict[str, Any] = {"order": snapshot.order}
    for name in _WEIGHTS:
        arrays |= {f"{name}.{i}": array for i, array in enumerate(getattr(snapshot, name))}
    values = {
        "product": snapshot.product,
        "position": snapshot.position,
        "step": snapshot.step,
        "progress": asdict(snapshot.progress),
        "random": snapshot.random,
        "n_arrays": len(snapshot.weights),
        "facts": facts,
    }
    file = io.BytesIO()
    np.savez(file, values=np.frombuffer(json.dumps(values).encode(), np.uint8), **arrays)
    return file.getvalue()


def from_bytes(content: bytes) -> tuple[Snapshot, dict[str, Any]]:
    """Undo `to_bytes`; raise ValueError, KeyError or OSError where the content is damaged."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        values = json.loads(arrays["values"].tobytes())
        parts = {
            name: [arrays[f"{name}.{i}"] for i in range(values["n_arrays"])] for name in _WEIGHTS
        }
        snapshot = Snapshot(
            **parts,
            product=values["product"],
            order=arrays["order"],
            position=values["position"],
            step=values["step"],
            progress=Progress(**values["progress"]),
            random=values["random"],
        )
    return snapshot, values["facts"]
