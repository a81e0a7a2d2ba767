"""Train some heads to their end."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from shared.training.head import Weights
from shared.training.inputs import Rows
from shared.training.params import HeadParams
from shared.training.schedule import Ending
from shared.training.trainer import Epoch, Trainer


@dataclass(frozen=True)
class Job:
    """Say what to train: hyperparameters and a seed, on some rows, judged by others."""

    key: int
    params: HeadParams
    seed: int
    train_rows: Rows
    valid_rows: Rows


@dataclass(frozen=True)
class FitResult:
    """Hold a trained head: its best weights, and the finite validation losses of its epochs."""

    key: int
    weights: Weights
    values: tuple[float, ...]
    ending: Ending

    @property
    def best_value(self) -> float:
        """The lowest validation loss; NaN before any."""
        return min(self.values, default=math.nan)


def fit(
    trainer: Trainer, jobs: Sequence[Job], on_epoch: Callable[[Epoch], None]
) -> Iterator[FitResult]:
    """Train each job to its end, as many at a time as the trainer has slots; yield as they end."""
    waiting = list(reversed(jobs))
    values: dict[int, list[float]] = {}
    while waiting or values:
        while waiting and trainer.n_heads < trainer.n_slots:
            job = waiting.pop()
            values[job.key] = []
            trainer.add(job.key, job.params, job.seed, job.train_rows, job.valid_rows)
        for epoch in trainer.advance():
            if math.isfinite(epoch.value):
                values[epoch.key].append(epoch.value)
            on_epoch(epoch)
            if epoch.ending is not None:
                weights = trainer.weights(epoch.key)
                trainer.remove(epoch.key)
                yield FitResult(epoch.key, weights, tuple(values.pop(epoch.key)), epoch.ending)
