"""The time of a simulation, and when the database cannot be reached in it."""

from benchmarks.model.database import Database

NEVER_S = float("-inf")


class SimulatedTime:
    """The time that passes for all processes alike, in seconds, and what the database's clock says.

    Until `down_until_s` nobody reaches the database; since `calm_since_s` no fault has happened.
    """

    def __init__(self, database: Database) -> None:
        """Begin at 0."""
        self.now_s = self.calm_since_s = 0.0
        self.down_until_s = NEVER_S
        self._database, self._stepped_s = database, 0.0
        self._show()

    def move_to(self, now_s: float) -> None:
        """Let time pass to a moment, if that is later."""
        if now_s > self.now_s:
            self.now_s = now_s
            self._show()

    def step_database(self, seconds: float) -> None:
        """Set the database's clock forward, or back."""
        self._stepped_s += seconds
        self._show()

    def disturb(self) -> None:
        """Take it that a fault has happened until now."""
        self.calm_since_s = max(self.calm_since_s, self.now_s)

    def _show(self) -> None:
        self._database.set_clock(self.now_s + self._stepped_s)
