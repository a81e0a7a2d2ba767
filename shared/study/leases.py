"""Tell who is gone by what others renew as long as they live.

No two clocks are compared, and nobody's silence is counted who could not speak: so neither an
outage, nor a machine that sleeps, nor a clock that is set makes anybody look dead (Gray and
Cheriton 1989, "Leases", section 3).
"""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Lease = TypeVar("Lease")


class Leases:
    """What one process has seen of leases that others renew, by its own clock.

    A lease is any value that changes as long as its holder lives.
    """

    def __init__(
        self, interval_s: float, grace_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Have seen nothing yet of leases that are renewed, and looked at, at an interval."""
        self._grace_s, self._clock = grace_s, clock
        self._max_gap_s = max(grace_s / 2, 1.5 * interval_s)
        self._looked_s = self._began_s = clock()
        self._seen: dict[int, tuple[object, float]] = {}

    def see(self, leases: Mapping[int, Lease]) -> dict[int, Lease]:
        """Return those of the leases that have been seen unchanged for the whole grace.

        What was seen before a gap, in which this process did not run or was not answered, does not
        count: who is watched may have been as helpless.
        """
        now_s = self._clock()
        if now_s - self._looked_s > self._max_gap_s:
            self.forget()
        self._looked_s = now_s
        self._seen = {
            key: self._seen[key] if self.has_seen(key, lease) else (lease, now_s)
            for key, lease in leases.items()
        }
        return {
            key: lease
            for key, lease in leases.items()
            if now_s - self._seen[key][1] >= self._grace_s
        }

    @property
    def has_watched(self) -> bool:
        """Whether this process has looked through a whole grace, without a gap."""
        return self._looked_s - self._began_s >= self._grace_s

    def has_seen(self, key: int, lease: object) -> bool:
        """Say whether a lease is as it was when it was last seen."""
        return key in self._seen and self._seen[key][0] == lease

    def forget(self) -> None:
        """Begin to watch anew, after an outage."""
        self._seen, self._began_s = {}, self._clock()
