"""Define the configuration's search space, and what every section is."""

from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from shared.training.params import Activation, Loss, Optimizer

Number = TypeVar("Number", int, float)
Value = TypeVar("Value")


class Section(BaseModel):
    """Be the base of every section: immutable, strict about its keys, all numbers finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


def as_list(value: object) -> object:
    """Take one value for a list of it."""
    return (value,) if isinstance(value, str | bool) else value


def require_distinct(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Raise ValueError where a list has a value twice."""
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ValueError(f"{value!r} is named twice: leave it out once")
    return values


Choices = Annotated[
    tuple[Value, ...],
    BeforeValidator(as_list),
    AfterValidator(require_distinct),
    Field(min_length=1),
]
"""Values to choose from; one may stand without a list."""


class Range(Section, Generic[Number]):
    """Two inclusive bounds to search between; a number alone, or equal bounds, fix the value."""

    low: Number
    """The smallest value."""
    high: Number
    """The largest value."""
    log: bool = False
    """Whether to sample on a logarithmic scale."""

    @model_validator(mode="before")
    @classmethod
    def _fix(cls, value: Any) -> Any:
        """Take a number for a range with equal bounds."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"low": value, "high": value}
        if not isinstance(value, Mapping | Range):
            raise ValueError(  # noqa: TRY004  which pydantic would not take as an error of a value
                f"must be a number or a range such as {{low: 1, high: 3}}, but is {value!r}"
            )
        return value

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

    concatenate: Choices[bool] = (False,)
    """Whether a head reads the vectors of all `encoders` side by side, or those of one."""
    l2_normalize: Choices[bool] = (False,)
    """Whether each vector is brought to length 1, which many encoders do of themselves."""
    standardize: Choices[bool] = (False,)
    """Whether each number of a vector is brought to mean 0 and standard deviation 1, as it has them
    over the training rows; after `l2_normalize`."""
    n_layers: Range[int] = Range[int](low=1, high=3)
    """Hidden layers."""
    min_units: int = Field(48, gt=0)
    """The smallest width of a hidden layer, in units; searched on a logarithmic scale."""
    max_units: int | None = Field(None, gt=0)
    """The largest width of a hidden layer, in units. null: the width of the embedding, that of the
    widest encoder where there are several."""
    activation: Choices[Activation] = ("relu", "linear", "swish")
    """The activations to choose from, for each layer by itself."""
    dropout: Range[float] = Range[float](low=0.0, high=0.6)
    """The share of units dropped after each hidden layer."""
    batch_size: Range[int] = Range[int](low=8, high=128)
    """Rows a gradient step."""
    learning_rate: Range[float] = Range[float](low=1e-3, high=1e-3, log=True)
    """The learning rate at the first epoch."""
    optimizer: Choices[Optimizer] = ("adam",)
    """The optimizers to choose from."""
    weight_decay: Range[float] = Range[float](low=0.0, high=0.0)
    """The decoupled weight decay of the optimizer."""
    batch_normalization: Choices[bool] = (False,)
    """Whether each hidden layer is normalised over the batch, before its activation."""
    label_smoothing: Range[float] = Range[float](low=0.0, high=0.0)
    """How far the training targets are drawn towards 0.5, or of n classes towards 1/n."""
    loss: Choices[Loss] = ("cross_entropy",)
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
