"""Hold the hyperparameters of one head."""

from dataclasses import dataclass
from typing import Literal

Activation = Literal["relu", "linear", "swish"]
Optimizer = Literal["adam", "adamw", "nadam", "rmsprop", "sgd"]
Loss = Literal["cross_entropy", "focal"]
Task = Literal["multilabel", "multiclass"]
"""Whether each label is true or false by itself, or one of several classes is true."""


@dataclass(frozen=True)
class LayerParams:
    """Describe one hidden layer."""

    units: int
    activation: Activation
    dropout: float


@dataclass(frozen=True)
class InputParams:
    """Describe what a head reads of a text's embeddings.

    `encoders` names those whose vectors it reads, side by side; empty: all that there are. Each
    vector is brought to length 1 by `l2_normalize`, then each of its numbers to mean 0 and
    standard deviation 1 over the known texts by `standardize`.
    """

    encoders: tuple[str, ...] = ()
    l2_normalize: bool = False
    standardize: bool = False


@dataclass(frozen=True)
class HeadParams:
    """Describe one head and how it is trained: what a trial is about."""

    layers: tuple[LayerParams, ...]
    batch_size: int
    learning_rate: float
    optimizer: Optimizer
    weight_decay: float
    batch_normalization: bool
    label_smoothing: float
    loss: Loss
    focal_gamma: float
    inputs: InputParams = InputParams()
    task: Task = "multilabel"

    @property
    def structure(self) -> "Structure":
        """What a program must be compiled for; all other values are data to it."""
        return Structure(
            n_layers=len(self.layers),
            batch_normalization=self.batch_normalization,
            optimizer=self.optimizer,
            decays=self.weight_decay > 0,
            loss=self.loss,
            task=self.task,
        )


@dataclass(frozen=True)
class Structure:
    """Name what heads must share to be trained by one program.

    Where it `has_gaps`, heads of fewer layers lack the last of the `n_layers` hidden ones.
    """

    n_layers: int
    batch_normalization: bool
    optimizer: Optimizer
    decays: bool
    loss: Loss
    task: Task
    has_gaps: bool = False
