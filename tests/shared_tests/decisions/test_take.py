import numpy as np

from shared.decisions.take import take

PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.45, 0.45]], dtype=np.float32)


def test_labels_are_given_from_their_thresholds_on() -> None:
    decided = take(PROBABILITIES, (0.5, 0.4, 0.1))
    assert decided.tolist() == [[True, False, True], [False, True, True]]


def test_of_classes_the_most_probable_is_given_the_first_of_equals() -> None:
    assert take(PROBABILITIES, None).tolist() == [[True, False, False], [False, True, False]]
