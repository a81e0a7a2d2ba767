from collections.abc import Callable

from shared.study.leases import Leases


class Clock:
    """A monotonic clock that a test moves on."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _watch(leases: Leases, clock: Clock, until_s: int, lease: Callable[[int], object]) -> list[int]:
    """Look every second, and return the seconds at which the lease had expired."""
    expired = []
    for second in range(int(clock.now_s) + 1, until_s + 1):
        clock.now_s = second
        if leases.see({1: lease(second)}):
            expired.append(second)
    return expired


def test_a_lease_expires_that_was_seen_unchanged_through_the_grace() -> None:
    clock = Clock()
    assert _watch(Leases(1, 10, clock), clock, 12, lambda _: "still") == [11, 12]


def test_a_lease_that_changes_lives_whatever_it_says() -> None:
    clock = Clock()
    assert _watch(Leases(1, 10, clock), clock, 40, lambda second: -(second // 5)) == []


def test_an_observer_that_was_frozen_begins_to_watch_anew() -> None:
    clock = Clock()
    leases = Leases(1, 10, clock)
    assert _watch(leases, clock, 9, lambda _: "still") == []
    clock.now_s += 3600
    assert _watch(leases, clock, 3622, lambda _: "still") == [3620, 3621, 3622]


def test_an_observer_that_was_cut_off_begins_to_watch_anew() -> None:
    clock = Clock()
    leases = Leases(1, 10, clock)
    assert _watch(leases, clock, 9, lambda _: "still") == []
    leases.forget()
    assert _watch(leases, clock, 20, lambda _: "still") == [20]


def test_an_observer_has_watched_after_a_grace_without_a_gap() -> None:
    clock = Clock()
    leases, watched = Leases(1, 10, clock), []
    for step_s in (*[1] * 11, 6, *[5] * 3):
        clock.now_s += step_s
        leases.see({})
        watched.append(leases.has_watched)
    assert watched == [*[False] * 9, True, True, False, False, True, True]
