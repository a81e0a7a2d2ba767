"""Fuse the members of an ensemble into one model."""

from collections.abc import Sequence
from typing import Any

import keras


def fuse(
    members: Sequence[keras.Model],
    shares: Sequence[float] | None = None,
    columns: Sequence[Sequence[slice]] | None = None,
) -> keras.Model:
    """Return one model of the mean of the members' probabilities, with their weights.

    Members may differ in all but their outputs, (batch, L). `shares` weigh them and sum to 1; None:
    equally. `columns` are which of the model's inputs, (batch, D) float32, each member takes, side
    by side; None: all. One forward pass as one graph takes a twentieth of the members' passes one
    by one.
    """
    n_inputs = max(member.input_shape[1] for member in members)
    if columns is not None:
        n_inputs = max(block.stop for blocks in columns for block in blocks)
    inputs = keras.Input((n_inputs,), dtype="float32", name="embeddings")
    taken = [inputs] * len(members)
    if columns is not None:
        taken = [_take(inputs, blocks) for blocks in columns]
    branches = [
        keras.Model(member.inputs[0], member.outputs[0], name=f"member_{i}")(own)
        for i, (member, own) in enumerate(zip(members, taken, strict=True))
    ]
    if len(branches) == 1:
        return keras.Model(inputs, branches[0], name="ensemble")
    if shares is None:
        return keras.Model(inputs, keras.layers.Average()(branches), name="ensemble")
    parts = [
        keras.layers.Rescaling(share, name=f"share_{i}")(branch)
        for i, (branch, share) in enumerate(zip(branches, shares, strict=True))
    ]
    return keras.Model(inputs, keras.layers.Add()(parts), name="ensemble")


def _take(inputs: Any, blocks: Sequence[slice]) -> Any:
    """Return some columns side by side; all of them as they are."""
    parts = [inputs[:, block] for block in blocks]
    if sum(part.shape[1] for part in parts) == inputs.shape[1]:
        return inputs
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate()(parts)
