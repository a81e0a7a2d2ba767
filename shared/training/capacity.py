"""Choose how many heads are trained at a time."""

from itertools import pairwise

from shared.training.backends import current_backend

MAX_SLOTS = 512
"""Past some hundred heads a step only takes longer: the memory's bandwidth is used up."""
MEMORY_SHARE = 0.7
"""The share of the accelerator's free memory that heads may take."""
COPIES = 9
"""Numbers of a head's size at once: weights, gradient, two moments, best weights, and a new one of
each that a step changes."""
ACTIVATION_COPIES = 8
"""Numbers of a layer's outputs at once, forward, backward and masks."""
_FLOAT_BYTES = 4


def auto_slots(
    n_inputs: int, n_labels: int, n_layers: int, max_units: int, max_batch_size: int, n_rows: int
) -> int:
    """Return how many heads of the widest shape the device holds: a power of 2, and 1 on a CPU.

    A CPU core has no use for more: its arithmetic is the limit, not the calls.
    """
    free = current_backend().free_bytes()
    if free is None:
        return 1
    widths = [n_inputs, *[max_units] * n_layers, n_labels]
    n_numbers = sum((n_in + 1) * n_out for n_in, n_out in pairwise(widths))
    n_activations = max_batch_size * sum(widths)
    head_bytes = _FLOAT_BYTES * (
        COPIES * n_numbers + ACTIVATION_COPIES * n_activations + 2 * n_rows
    )
    fitting = max(1, int(free * MEMORY_SHARE) // head_bytes)
    return int(min(MAX_SLOTS, 2 ** (fitting.bit_length() - 1)))
