"""The state machine whose rules are what workers and drivers do, and what befalls them."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from benchmarks.model.database import Database
from benchmarks.model.ending import come_to_the_end
from benchmarks.model.invariants import Judge
from benchmarks.model.line import Trouble
from benchmarks.model.worker import ACTS, Act, SimulatedWorker
from benchmarks.model.world import INTERVAL_S, World

WHO = st.integers(0, 3)
WHAT = st.sampled_from(ACTS)
SILENCE_S = st.sampled_from([0.0, 1.0, 9.0, 20.0, 45.0, 70.0, 200.0])
OUTAGE_S = st.sampled_from([0.0, INTERVAL_S, 25.0, 45.0, 200.0])
"""One shorter than an interval might by chance be met by the same worker again and again."""
MOMENT = st.integers(0, 12) | st.none()
"""Before which statement something happens; None: before the first COMMIT."""
N_WORKERS = 4


class Search(RuleBasedStateMachine):
    """A search of up to four workers at a time and its drivers, and all that may go wrong."""

    n_steps: ClassVar[int] = 0
    """How many steps there were in all searches."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database, self._exits = database, ExitStack()

    @initialize(
        n_workers=st.integers(2, N_WORKERS),
        n_trials=st.sampled_from([1, 4, 12, 25, 40]),
        max_retries=st.integers(0, 3),
    )
    def begin(self, n_workers: int, n_trials: int, max_retries: int) -> None:
        self.world = World(self._database, n_trials, max_retries)
        self.judge = Judge(self.world)
        for i in range(n_workers):
            self.world.start_worker(phase_s=i * INTERVAL_S / n_workers)
        self._exits.callback(self.world.close)
        self._exits.callback(come_to_the_end, self.world, self.judge)

    @rule(who=WHO, what=WHAT)
    def act(self, who: int, what: Act) -> None:
        if worker := self._reachable(who):
            worker.do(what)

    @rule(who=WHO)
    def work(self, who: int) -> None:
        self.act(who, SimulatedWorker.work)

    @rule(
        who=WHO,
        what=WHAT,
        trouble=st.sampled_from(Trouble),
        n_before=st.integers(0, 1),
        silence_s=OUTAGE_S,
        is_for_all=st.booleans(),
    )
    def act_in_trouble(
        self,
        who: int,
        what: Act,
        trouble: Trouble,
        n_before: int,
        silence_s: float,
        is_for_all: bool,
    ) -> None:
        """Something happens at a COMMIT; who lives tries again after a silence."""
        worker = self._reachable(who)
        if worker is None:
            return

        def meanwhile() -> None:
            if is_for_all:
                self.world.be_down(silence_s)
            else:
                worker.cut_off(silence_s)
                self.world.pass_time(silence_s)

        worker.waiting.meanwhile = meanwhile
        worker.line.plan_commit(n_before, trouble.strike)
        worker.do(what)
        worker.waiting.meanwhile = None
        worker.line.clear()

    @rule(who=WHO, silence_s=OUTAGE_S, is_for_all=st.booleans())
    def lose_an_answer(self, who: int, silence_s: float, is_for_all: bool) -> None:
        """A worker is not told which trials it was given."""
        trouble = Trouble.LOST_AFTER
        self.act_in_trouble(who, SimulatedWorker.ask, trouble, 0, silence_s, is_for_all)

    @rule(who=WHO, what=WHAT, moment=MOMENT, other=WHO, others=WHAT)
    def meet(self, who: int, what: Act, moment: int | None, other: int, others: Act) -> None:
        """Another does something in the midst of what one does."""
        worker, met = self._reachable(who), self._reachable(who + 1 + other)
        if worker is None or met is None or worker is met:
            return

        def meanwhile() -> None:
            met.do(others)
            self.judge.judge_ended()

        self._interrupt(worker, what, moment, meanwhile)

    @rule(who=WHO)
    def ask_together(self, who: int) -> None:
        """One asks for trials, and another before each of the first statements that this takes."""
        worker, met = self._reachable(who), self._reachable(who + 1)
        if worker is None or met is None or worker is met:
            return

        def meanwhile(n_more: int) -> None:
            met.do(SimulatedWorker.ask)
            if n_more:
                worker.line.plan_statement(0, lambda: meanwhile(n_more - 1))

        self._interrupt(worker, SimulatedWorker.ask, 1, lambda: meanwhile(2))

    @rule(who=WHO, what=WHAT, moment=MOMENT, seconds=st.sampled_from([9.0, 25.0, 45.0]))
    def freeze(self, who: int, what: Act, moment: int | None, seconds: float) -> None:
        """A worker stands still in the midst of what it does, with all locks that it holds."""
        worker = self._reachable(who)
        if worker is None:
            return

        def meanwhile() -> None:
            worker.pause()
            self.world.pass_time(seconds)
            self.judge.judge_ended()
            worker.go_on()

        self._interrupt(worker, what, moment, meanwhile)

    @rule(who=WHO, what=WHAT, seconds=SILENCE_S)
    def come_back(self, who: int, what: Act, seconds: float) -> None:
        """A worker stands still between two things that it does, and does not know it."""
        if worker := self._reachable(who):
            worker.pause()
            self.world.pass_time(seconds)
            worker.go_on()
            worker.do(what)

    @rule(seconds=SILENCE_S)
    def wait(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(seconds=OUTAGE_S)
    def be_down(self, seconds: float) -> None:
        self.world.be_down(seconds)

    @rule(who=WHO, seconds=SILENCE_S)
    def cut_off(self, who: int, seconds: float) -> None:
        if worker := self._reachable(who):
            worker.cut_off(seconds)

    @rule(who=WHO)
    def pause(self, who: int) -> None:
        if worker := self._reachable(who):
            worker.pause()

    @rule(who=WHO, clock_stood_still=st.booleans())
    def go_on(self, who: int, clock_stood_still: bool) -> None:
        paused = [one for one in self.world.workers if one.is_paused]
        if paused:
            paused[who % len(paused)].go_on(clock_stood_still=clock_stood_still)

    @rule(who=WHO, is_slow=st.booleans())
    def slow_down(self, who: int, is_slow: bool) -> None:
        """A worker's machine is overloaded, or no longer."""
        if worker := self._reachable(who):
            worker.is_slow = is_slow
            self.world.time.disturb()

    @rule(seconds=SILENCE_S, clocks_stand_still=st.booleans())
    def sleep(self, seconds: float, clocks_stand_still: bool) -> None:
        self.world.sleep(seconds, clocks_stand_still=clocks_stand_still)

    @rule(hours=st.sampled_from([-2, -1, 1, 2]))
    def set_clock(self, hours: int) -> None:
        # Never to what it was to the microsecond, as with a real one.
        self.world.time.step_database(hours * 3600.123)

    @rule(who=WHO)
    def die(self, who: int) -> None:
        if worker := self._reachable(who):
            worker.die()

    @rule()
    def start(self) -> None:
        """A worker comes in the place of a dead one, or of one that stands still."""
        self.world.bury_dead()
        if len(self.world.workers) < N_WORKERS:
            self.world.start_worker(phase_s=0.0)
        else:
            self.go_on(0, clock_stood_still=False)

    @rule(n_more=st.integers(0, 4))
    def drive(self, n_more: int) -> None:
        self.world.drive(n_more)

    @rule()
    def end_drivers_session(self) -> None:
        self.world.end_drivers_session()

    @rule()
    def poll(self) -> None:
        for driver in list(self.world.drivers):
            self.world.poll(driver)

    @rule()
    def leave(self) -> None:
        if self.world.drivers:
            self.world.leave(self.world.drivers[0])

    @invariant()
    def hold(self) -> None:
        Search.n_steps += 1
        self.judge.judge()

    def teardown(self) -> None:
        self._exits.close()

    def _interrupt(
        self,
        worker: SimulatedWorker,
        what: Act,
        moment: int | None,
        meanwhile: Callable[[], None],
    ) -> None:
        if moment is None:
            worker.line.plan_commit(0, lambda _connection: meanwhile())
        else:
            worker.line.plan_statement(moment, meanwhile)
        worker.do(what)
        worker.line.clear()

    def _reachable(self, who: int) -> SimulatedWorker | None:
        """Return a worker that is at work, if there is one; where all are gone, another comes."""
        if not any(one.is_running for one in self.world.workers):
            self.start()
        reachable = [one for one in self.world.workers if not one.is_hindered]
        return reachable[who % len(reachable)] if reachable else None
