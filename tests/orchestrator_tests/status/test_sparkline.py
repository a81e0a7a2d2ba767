from orchestrator.status.sparkline import BLOCKS, best_so_far, spark
from orchestrator.status.study_reader import Improvement

IMPROVEMENTS = (Improvement(1, 0, 0.75), Improvement(50, 49, 0.25))


def test_a_sparkline_rises_with_its_values() -> None:
    assert spark([0, 1, 7, 3.5], BLOCKS) == "▁▂█▅"
    assert spark([2, 2], BLOCKS) == "▁▁"
    assert spark([], BLOCKS) == ""


def test_the_best_so_far_is_taken_at_even_distances_of_finished_trials() -> None:
    assert best_so_far(IMPROVEMENTS, n_finished=75, n=4) == [0.75, 0.75, 0.25, 0.25]
    assert best_so_far(IMPROVEMENTS, n_finished=49, n=2) == [0.75, 0.75]


def test_there_is_no_more_than_one_point_a_trial() -> None:
    assert best_so_far(IMPROVEMENTS, n_finished=2, n=4) == [0.75, 0.75]
    assert best_so_far((), n_finished=2, n=4) == []
