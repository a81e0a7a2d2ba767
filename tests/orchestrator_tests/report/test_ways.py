from orchestrator.report.ways import tell_ways


def test_a_trial_alone_has_no_other_ways() -> None:
    made = tell_ways({"source": "best", "teams": [{"trial": 7, "share": 1.0}]})
    assert (made.shares, made.ways) == ({"trial 7": 1.0}, ())


def test_teams_without_a_share_are_left_out_and_the_way_that_was_taken_is_marked() -> None:
    teams = [{"trial": 7, "share": 0.6}, {"trial": 2, "share": 0.0}, {"trial": None, "share": 0.4}]
    ways = {way: {"out_of_fold": 0.9, "nested": 0.8} for way in ("best", "greedy")}
    made = tell_ways({"source": "greedy", "teams": teams, "ways": ways})
    assert made.shares == {"trial 7": 0.6, "the kernel machine": 0.4}
    best, greedy = made.ways
    assert (best.is_taken, best.nested) == (False, 0.8)
    assert greedy.is_taken
