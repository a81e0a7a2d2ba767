"""Define the search space once, as the function that suggests a trial's hyperparameters."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any, cast

from optuna.trial import BaseTrial, FixedTrial, FrozenTrial

from shared.config.space import Range, SpaceConfig
from shared.training.params import (
    Activation,
    HeadParams,
    InputParams,
    LayerParams,
    Loss,
    Optimizer,
    Task,
)

Widths = Mapping[str, int]
"""How many columns each encoder's vectors have, by its name."""


def suggest(
    trial: BaseTrial, space: SpaceConfig, widths: Widths, task: Task = "multilabel"
) -> HeadParams:
    """Suggest the hyperparameters of one head that reads embeddings of some widths, for a task.

    Layers are numbered from 0: `n_units_l0`, `activation0`, `dropout0`. A value that the
    configuration fixes is not suggested, and so is not a parameter of the study.
    """
    n_layers = _suggest_int(trial, "n_layers", space.n_layers)
    return HeadParams(
        layers=tuple(_suggest_layer(trial, space, i, widths) for i in range(n_layers)),
        batch_size=_suggest_int(trial, "batch_size", space.batch_size),
        learning_rate=_suggest_float(trial, "learning_rate", space.learning_rate),
        optimizer=cast("Optimizer", _choose(trial, "optimizer", space.optimizer)),
        weight_decay=_suggest_float(trial, "weight_decay", space.weight_decay),
        batch_normalization=cast(
            "bool", _choose(trial, "batch_normalization", space.batch_normalization)
        ),
        label_smoothing=_suggest_float(trial, "label_smoothing", space.label_smoothing),
        loss=cast("Loss", _choose(trial, "loss", space.loss)),
        focal_gamma=_suggest_float(trial, "focal_gamma", space.focal_gamma),
        inputs=_suggest_inputs(trial, space, widths),
        task=task,
    )


def params_of(
    trial: FrozenTrial, space: SpaceConfig, widths: Widths, task: Task = "multilabel"
) -> HeadParams:
    """Return the hyperparameters that `suggest` gave to a trial of the study."""
    return suggest(FixedTrial(trial.params), space, widths, task)


def all_inputs(space: SpaceConfig, widths: Widths) -> list[InputParams]:
    """Return all that heads may read in a space."""
    choices = product(_readable(space, widths).values(), space.l2_normalize, space.standardize)
    return [InputParams(*chosen) for chosen in choices]


def first_params(space: SpaceConfig, widths: Widths) -> dict[str, Any]:
    """Return parameters worth trying first: one wide relu layer with much dropout.

    That head does well on most embeddings, so that a short search does not depend on the luck of
    its random start. It reads the first of the encoders, as it is. Parameters that it leaves out
    are the sampler's to choose.
    """
    wishes: dict[str, tuple[Any, Range[int] | Range[float]]] = {
        "n_layers": (1, space.n_layers),
        "n_units_l0": (max(widths.values()), _units(space, widths)),
        "dropout0": (0.5, space.dropout),
        "batch_size": (16, space.batch_size),
    }
    params = {
        name: min(max(wish, bounds.low), bounds.high)
        for name, (wish, bounds) in wishes.items()
        if bounds.low < bounds.high
    }
    if "relu" in space.activation and len(space.activation) > 1:
        params["activation0"] = "relu"
    encoders = tuple(_readable(space, widths))
    wished = {
        "encoder": (encoders[0], encoders),
        "l2_normalize": (False, space.l2_normalize),
        "standardize": (False, space.standardize),
    }
    return params | {name: wish for name, (wish, choices) in wished.items() if len(choices) > 1}


def default_params(widths: Widths, task: Task = "multilabel") -> HeadParams:
    """Return the head of `first_params`, whatever a sweep's space is: what a search must beat.

    It reads all the embeddings that there are. All else is as the configuration's defaults have it.
    """
    space = SpaceConfig()
    head = suggest(FixedTrial(first_params(space, widths)), space, widths, task)
    return replace(head, inputs=InputParams())


def _readable(space: SpaceConfig, widths: Widths) -> dict[str, tuple[str, ...]]:
    """Return the encoders whose vectors a head may read together, by what the study calls them."""
    found: dict[str, tuple[str, ...]] = {}
    for is_joined in space.concatenate:
        found |= {" + ".join(widths): tuple(widths)} if is_joined else {w: (w,) for w in widths}
    return found


def _units(space: SpaceConfig, widths: Widths) -> Range[int]:
    widest = max(space.min_units, space.max_units or max(widths.values()))
    return Range[int](low=space.min_units, high=widest, log=True)


def _suggest_inputs(trial: BaseTrial, space: SpaceConfig, widths: Widths) -> InputParams:
    readable = _readable(space, widths)
    return InputParams(
        encoders=readable[cast("str", _choose(trial, "encoder", tuple(readable)))],
        l2_normalize=cast("bool", _choose(trial, "l2_normalize", space.l2_normalize)),
        standardize=cast("bool", _choose(trial, "standardize", space.standardize)),
    )


def _suggest_layer(trial: BaseTrial, space: SpaceConfig, i: int, widths: Widths) -> LayerParams:
    return LayerParams(
        units=_suggest_int(trial, f"n_units_l{i}", _units(space, widths)),
        activation=cast("Activation", _choose(trial, f"activation{i}", space.activation)),
        dropout=_suggest_float(trial, f"dropout{i}", space.dropout),
    )


def _suggest_int(trial: BaseTrial, name: str, bounds: Range[int]) -> int:
    if bounds.low == bounds.high:
        return bounds.low
    return trial.suggest_int(name, bounds.low, bounds.high, log=bounds.log)


def _suggest_float(trial: BaseTrial, name: str, bounds: Range[float]) -> float:
    if bounds.low == bounds.high:
        return bounds.low
    return trial.suggest_float(name, bounds.low, bounds.high, log=bounds.log)


def _choose(trial: BaseTrial, name: str, choices: tuple[str, ...] | tuple[bool, ...]) -> str | bool:
    if len(choices) == 1:
        return choices[0]
    return trial.suggest_categorical(name, choices)
