"""Pass a pack of heads forward and backward: in keras.ops, for any backend.

The gradient is written out instead of taken by the backend. That needs half the operations, and a
small head on a CPU waits for operations, not for arithmetic.
Shapes: P slots, B rows, L labels; `hidden` is (P, B, units).
"""

from typing import Any, NamedTuple

from keras import ops

from shared.training.params import Structure

ACTIVATIONS = ("relu", "linear", "swish")
"""What the numbers in `activation` stand for."""
ABSENT = len(ACTIVATIONS)
"""The number of a layer that a head does not have: what comes in goes out."""
_GATES = ((1.0, 1e20, 200.0, 0.0), (2.0, 0.0, 0.0, 0.0), (1.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
"""Of relu, a gate so steep that it is open or shut, and shut at exactly 0; of linear, one that is
half open everywhere; of swish, the sigmoid itself; of an absent layer, one that is always shut,
and a way around it."""
_MOMENTUM = 0.99
_VARIANCE_EPSILON = 1e-3


class Gate(NamedTuple):
    """Hold what makes x * gain * sigmoid(steepness * x - offset) a slot's activation, (P, 1, 1).

    One formula for all activations costs a third of computing each and choosing. `bypass` is the
    share of a layer's input that is added to its output, 1 where it is absent and 0 where it is
    not; None where no slot lacks the layer.
    """

    gain: Any
    steepness: Any
    offset: Any
    bypass: Any | None


class Layer(NamedTuple):
    """Hold a layer's weights: kernel (P, in, out), all others (P, 1, out).

    `gamma` and `beta` are None without batch normalisation; `moving` (P, 2, out) then too.
    """

    kernel: Any
    bias: Any
    gamma: Any = None
    beta: Any = None
    moving: Any = None


class Pass(NamedTuple):
    """Remember what a hidden layer's gradient needs.

    `slope` is the derivative of activation and dropout together; `normal` the normalised sums and
    `scale` what they were multiplied by, both None without batch normalisation; `bypass` as in
    `Gate`.
    """

    incoming: Any
    slope: Any
    normal: Any = None
    scale: Any = None
    bypass: Any = None


def gates_of(activation: Any, structure: Structure) -> list[Gate]:
    """Return the gates of each hidden layer; `activation` (P, n_layers) int32."""
    constants = ops.take(ops.convert_to_tensor(_GATES), activation, axis=0)
    gates = []
    for layer in range(structure.n_layers):
        gate = Gate(*(constants[:, layer, None, None, i] for i in range(len(Gate._fields))))
        has_gaps = structure.has_gaps and layer > 0
        gates.append(gate if has_gaps else gate._replace(bypass=None))
    return gates


def forward(layers: list[Layer], hidden: Any, gates: list[Gate]) -> Any:
    """Return the (P, B, L) logits of heads at rest."""
    *hidden_layers, last = layers
    for i, layer in enumerate(hidden_layers):
        sums = ops.matmul(hidden, layer.kernel) + layer.bias
        if layer.moving is not None:
            mean, variance = layer.moving[:, :1], layer.moving[:, 1:]
            scale = ops.rsqrt(variance + _VARIANCE_EPSILON)
            sums = (sums - mean) * scale * layer.gamma + layer.beta
        value, _ = _activate(sums, gates[i])
        hidden = _around(gates[i].bypass, hidden, value)
    return ops.matmul(hidden, last.kernel) + last.bias


def forward_in_training(
    layers: list[Layer], hidden: Any, gates: list[Gate], masks: list[Any], share: Any
) -> tuple[Any, list[Pass], list[Any]]:
    """Return the logits, what the gradient needs, and the moving statistics after this batch.

    `masks` (P, B, units) are what dropout multiplies a layer by; `share` (P, B, 1) is each row's
    weight in its batch, 0 for rows that only fill up.
    """
    *hidden_layers, last = layers
    passes, moved = [], []
    for i, layer in enumerate(hidden_layers):
        incoming = hidden
        sums = ops.matmul(incoming, layer.kernel) + layer.bias
        normal = scale = None
        if layer.moving is not None:
            mean = ops.sum(sums * share, axis=1, keepdims=True)
            variance = ops.sum(ops.square(sums - mean) * share, axis=1, keepdims=True)
            now = ops.concatenate([mean, variance], axis=1)
            moved.append(layer.moving * _MOMENTUM + now * (1 - _MOMENTUM))
            scale = ops.rsqrt(variance + _VARIANCE_EPSILON)
            normal = (sums - mean) * scale
            sums = normal * layer.gamma + layer.beta
        value, slope = _activate(sums, gates[i])
        hidden = _around(gates[i].bypass, incoming, value * masks[i])
        passes.append(Pass(incoming, slope * masks[i], normal, scale, gates[i].bypass))
    logits = ops.matmul(hidden, last.kernel) + last.bias
    return logits, [*passes, Pass(hidden, None)], moved


def backward(layers: list[Layer], passes: list[Pass], error: Any, share: Any) -> list[Any]:
    """Return the gradient of each layer's kernel, bias, gamma and beta, in this order.

    `error` (P, B, L) is the derivative of the loss by the logits.
    """
    gradients: list[Any] = []
    for i in reversed(range(len(layers))):
        layer, passed, outgoing = layers[i], passes[i], error
        normalising = []
        if passed.slope is not None:
            error = error * passed.slope
        if passed.normal is not None:
            normalising = [_total(error * passed.normal), _total(error)]
            error = error * layer.gamma
            # Ioffe & Szegedy 2015, "Batch normalization", section 3
            common = _total(error) + passed.normal * _total(error * passed.normal)
            error = (error - share * common) * passed.scale
        kernel = ops.matmul(_transposed(passed.incoming), error)
        gradients = [kernel, _total(error), *normalising, *gradients]
        if i:
            error = ops.matmul(error, _transposed(layer.kernel))
            error = _around(passed.bypass, outgoing, error)
    return gradients


def _around(bypass: Any | None, incoming: Any, outgoing: Any) -> Any:
    """Let what comes in pass by the layer in the slots that lack it."""
    return outgoing if bypass is None else outgoing + bypass * incoming


def _activate(sums: Any, gate: Gate) -> tuple[Any, Any]:
    """Apply to each slot its own activation; return the derivative too."""
    opened = ops.sigmoid(sums * gate.steepness - gate.offset) * gate.gain
    value = sums * opened
    return value, opened + value * gate.steepness * (1 - opened)


def _total(array: Any) -> Any:
    return ops.sum(array, axis=1, keepdims=True)


def _transposed(array: Any) -> Any:
    return ops.transpose(array, (0, 2, 1))
