from optuna.study import StudyDirection

from shared.study.objectives import direction_of, dominates, rank

MIN, MAX = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE


def test_precision_is_maximised_and_all_else_minimised() -> None:
    assert direction_of("ap_macro") is direction_of("ap_weighted") is MAX
    assert direction_of("validation_loss") is direction_of("n_parameters") is MIN
    assert direction_of("latency_ms") is MIN


def test_trials_rank_by_their_first_objective_and_equal_ones_by_the_next() -> None:
    values = [(0.5, 10), (0.75, 30), (0.75, 20)]
    assert sorted(values, key=lambda one: rank(one, [MAX, MIN])) == [
        (0.75, 20),
        (0.75, 30),
        (0.5, 10),
    ]


def test_a_trial_dominates_what_is_nowhere_better_and_somewhere_worse() -> None:
    assert dominates((0.5, 10), (0.5, 20))
    assert not dominates((0.5, 10), (0.5, 10))
    assert not dominates((0.5, 10), (0.25, 20))
