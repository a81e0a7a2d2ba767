"""Hold the hyperparameters of one head."""

from dataclasses import dataclass

from shared.config import Activation, Loss, Optimizer


@dataclass(frozen=True)
class LayerParams:
    """Describe one hidden layer."""

    units: int
    activation: Activation
    dropout: float


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
