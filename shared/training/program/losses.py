"""Say how wrong logits are, and which way they must go: in keras.ops, for any backend.

Each of several labels is true or false by itself: each logit has a sigmoid and a loss of its own,
and a row's loss is their mean. One of several classes is true: a row's logits share a softmax and
one loss. Shapes: P slots, B rows, L labels or classes.
"""

from typing import Any

from keras import ops

from shared.training.params import Structure, Task

_MISSED_EPSILON = 1e-7


def row_losses(task: Task, targets: Any, logits: Any) -> Any:
    """Return the (P, B) cross-entropies of rows, in nats, without overflow.

    `targets` and `logits` are (P, B, L). For labels it is the mean of the binary ones, for classes
    the categorical one.
    """
    if task == "multiclass":
        return -ops.sum(targets * ops.log_softmax(logits), axis=-1)
    return ops.mean(_binary_cross_entropy(targets, logits), axis=-1)


def n_losses(task: Task, n_labels: Any) -> Any:
    """Return how many losses a row's is the mean of; a number, or a scalar tensor."""
    return 1 if task == "multiclass" else n_labels


def smoothing_centre(task: Task, labels: Any) -> Any:
    """Return what label smoothing draws (..., L) targets towards: what is known of none of them."""
    return 1 / ops.cast(ops.shape(labels)[-1], "float32") if task == "multiclass" else 0.5


def error_of(structure: Structure, targets: Any, logits: Any, gamma: Any) -> Any:
    """Return the derivative by each logit of the sum of its row's losses, (P, B, L).

    `gamma` (P, 1, 1) is the focal loss's: Lin et al. 2017, "Focal loss for dense object detection",
    section 3.2, which footnote 1 extends to classes.
    """
    if structure.task == "multiclass":
        probability, focal_error = ops.softmax(logits), _focal_error_of_classes
    else:
        probability, focal_error = ops.sigmoid(logits), _focal_error_of_labels
    if structure.loss == "focal":
        return focal_error(targets, logits, probability, gamma)
    return probability - targets


def _focal_error_of_labels(targets: Any, logits: Any, probability: Any, gamma: Any) -> Any:
    missed = targets * (1 - probability) + (1 - targets) * probability
    missed = ops.maximum(missed, _MISSED_EPSILON)
    slope = (1 - 2 * targets) * probability * (1 - probability)
    change = _binary_cross_entropy(targets, logits) * gamma / missed * slope
    return ops.power(missed, gamma) * (probability - targets + change)


def _focal_error_of_classes(targets: Any, logits: Any, probability: Any, gamma: Any) -> Any:
    """Do so for the sum over classes of -target * missed**gamma * log(probability)."""
    missed = ops.maximum(1 - probability, _MISSED_EPSILON)
    change = gamma / missed * probability * ops.log_softmax(logits) - 1
    pull = targets * ops.power(missed, gamma) * change
    return pull - probability * ops.sum(pull, axis=-1, keepdims=True)


def _binary_cross_entropy(targets: Any, logits: Any) -> Any:
    return ops.relu(logits) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))
