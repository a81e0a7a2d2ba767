import numpy as np
import pytest

from orchestrator.status.forecast import busy_share, forecast, union


def _finished(gaps: list[float], length: float = 1.0) -> list[tuple[float, float]]:
    """Return trials of a length that end one gap after the other."""
    return [(end - length, end) for end in np.cumsum([100.0, *gaps])]


def test_trials_that_finish_steadily_leave_no_doubt() -> None:
    found = forecast(_finished([0.5] * 20), n_left=30)
    assert found
    assert found.trials_per_min == pytest.approx(120)
    assert found.seconds_left == pytest.approx(15)
    assert found.at_least_s == found.at_most_s == pytest.approx(15)


def test_the_range_covers_what_comes_about_as_often_as_it_says() -> None:
    rng, n_left = np.random.default_rng(0), 50
    n_covered = 0
    for _ in range(400):
        gaps = rng.exponential(0.5, size=100 + n_left)
        found = forecast(_finished(list(gaps[:100]), length=10), n_left)
        assert found
        n_covered += found.at_least_s <= gaps[100:].sum() <= found.at_most_s
    assert 0.86 < n_covered / 400 < 0.94


def test_only_the_latest_trials_count() -> None:
    found = forecast(_finished([10.0] * 50 + [0.5] * 200, length=20), n_left=2)
    assert found
    assert found.trials_per_min == pytest.approx(120)


def test_time_without_a_trial_under_way_does_not_count() -> None:
    without, paused = [0.5] * 20, [0.5] * 10 + [3600.5] + [0.5] * 9
    expected, found = (forecast(_finished(gaps, 0.75), n_left=10) for gaps in (without, paused))
    assert expected
    assert found
    assert found.seconds_left == pytest.approx(expected.seconds_left, rel=0.1)


def test_nothing_is_foreseen_from_too_few_trials_or_from_none_after_another() -> None:
    assert forecast([], 10) is None
    assert forecast(_finished([1.0, 1.0, 1.0]), 10) is None
    assert forecast([(0.0, 1.0)] * 10, 10) is None


def test_nothing_is_left_to_wait_for_at_the_end() -> None:
    found = forecast(_finished([0.5, 1.0] * 10), n_left=0)
    assert found
    assert (found.seconds_left, found.at_least_s, found.at_most_s) == (0, 0, 0)


def test_spans_that_overlap_or_touch_become_one() -> None:
    assert union([(3, 4), (0, 1), (0.5, 2), (2, 2.5)]) == [(0, 2.5), (3, 4)]


def test_the_busy_share_counts_time_once_and_within_bounds_only() -> None:
    assert busy_share([(-5, 1), (0, 2), (9, 50)], since=0, until=10) == pytest.approx(0.3)
    assert busy_share([(-5, -1)], since=0, until=10) == 0
    assert busy_share([], since=10, until=10) == 0
