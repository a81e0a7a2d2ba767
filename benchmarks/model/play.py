"""Play many searches, in seeded schedules, until one goes wrong."""

from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from benchmarks.model.database import Database
from benchmarks.model.invariants import ViolationError
from benchmarks.model.machine import Search
from benchmarks.model.plants import planted


@dataclass(frozen=True)
class Played:
    """How many steps were played, and what went wrong, if anything."""

    n_steps: int
    violation: ViolationError | None


def play(
    database: Database, n_examples: int, n_steps: int, number: int, plant: str | None = None
) -> Played:
    """Play searches of so many steps, the same ones for the same number.

    A violation without a plant is reduced to the shortest schedule that leads to one.
    """

    class Seeded(Search):
        def __init__(self) -> None:
            super().__init__(database)

    phases = (Phase.generate,) if plant else (Phase.generate, Phase.shrink)
    before = Search.n_steps
    try:
        with planted(plant):
            run_state_machine_as_test(
                seed(number)(Seeded),
                settings=settings(
                    max_examples=n_examples,
                    stateful_step_count=n_steps,
                    database=None,
                    deadline=None,
                    phases=phases,
                    report_multiple_bugs=False,
                    suppress_health_check=list(HealthCheck),
                ),
            )
    except ViolationError as violation:
        return Played(Search.n_steps - before, violation)
    return Played(Search.n_steps - before, None)
