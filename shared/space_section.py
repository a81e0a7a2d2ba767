"""Define the configuration's search space, and what every section is."""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.training.params import Activation, Loss, Optimizer

Number = TypeVar("Number", int, float)


class Section(BaseModel):
    """Be the base of every section: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Range(Section, Generic[Number]):
    """Two inclusive bounds to search between; equal bounds fix the value."""

    low: Number
    """The smallest value."""
    high: Number
    """The largest value."""
    log: bool = False
    """Whether to sample on a logarithmic scale."""

    @model_validator(mode="after")
    def _check(self) -> "Range[Number]":
        if self.low > self.high:
            raise ValueError(f"low must not exceed high, but got {self.low} > {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range must lie above 0, but got low={self.low}")
        return self


class SpaceConfig(Section):
    """The search space: what a trial may look like.

    A choice with one value and a range with equal bounds are fixed, and not part of the study.
    """

    concatenate: tuple[bool, ...] = Field((False,), min_length=1)
    """Whether a head reads the vectors of all `encoders` side by side, or those of one."""
    l2_normalize: tuple[bool, ...] = Field((False,), min_length=1)
    """Whether each vector is brought to length 1, which many encoders do of themselves."""
    standardize: tuple[bool, ...] = Field((False,), min_length=1)
    """Whether each number of a vector is brought to mean 0 and standard deviation 1, as it has them
    over the training rows; after `l2_normalize`."""
    n_layers: Range[int] = Range[int](low=1, high=3)
    """Hidden layers."""
    min_units: int = Field(48, gt=0)
    """The smallest width of a hidden layer, in units; searched on a logarithmic scale."""
    max_units: int | None = Field(None, gt=0)
    """The largest width of a hidden layer, in units. null: the width of the embedding, that of the
    widest encoder where there are several."""
    activation: tuple[Activation, ...] = Field(("relu", "linear", "swish"), min_length=1)
    """The activations to choose from, for each layer by itself."""
    dropout: Range[float] = Range[float](low=0.0, high=0.6)
    """The share of units dropped after each hidden layer."""
    batch_size: Range[int] = Range[int](low=8, high=128)
    """Rows a gradient step."""
    learning_rate: Range[float] = Range[float](low=1e-3, high=1e-3, log=True)
    """The learning rate at the first epoch."""
    optimizer: tuple[Optimizer, ...] = Field(("adam",), min_length=1)
    """The optimizers to choose from."""
    weight_decay: Range[float] = Range[float](low=0.0, high=0.0)
    """The decoupled weight decay of the optimizer."""
    batch_normalization: tuple[bool, ...] = Field((False,), min_length=1)
    """Whether each hidden layer is normalised over the batch, before its activation."""
    label_smoothing: Range[float] = Range[float](low=0.0, high=0.0)
    """How far the training targets are drawn towards 0.5, or of n classes towards 1/n."""
    loss: tuple[Loss, ...] = Field(("cross_entropy",), min_length=1)
    """The training losses to choose from; trials are always compared by cross-entropy."""
    focal_gamma: Range[float] = Range[float](low=2.0, high=2.0)
    """How strongly the focal loss looks away from easy examples."""

    @model_validator(mode="after")
    def _check(self) -> "SpaceConfig":
        if self.n_layers.low < 1 or self.batch_size.low < 1:
            raise ValueError("n_layers and batch_size must be at least 1")
        if self.dropout.low < 0 or self.dropout.high >= 1:
            raise ValueError("dropout must lie in [0, 1)")
        if self.label_smoothing.low < 0 or self.label_smoothing.high >= 1:
            raise ValueError("label_smoothing must lie in [0, 1)")
        if self.learning_rate.low <= 0:
            raise ValueError("learning_rate must be above 0")
        if self.weight_decay.low < 0 or self.focal_gamma.low < 0:
            raise ValueError("weight_decay and focal_gamma must not be negative")
        if self.max_units is not None and self.max_units < self.min_units:
            raise ValueError(f"max_units must not be below min_units ({self.min_units})")
        return self
