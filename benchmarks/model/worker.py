"""A simulated worker: what it believes of its trials, and what it does by the real functions."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from benchmarks.model.clock import NEVER_S, SimulatedTime
from benchmarks.model.line import Died, Line
from shared.config.sections import WorkersConfig
from shared.study.attributes import Failure, FailureKind, Owner
from shared.study.budget import ask
from shared.study.liveness import Reaper, retry
from shared.study.patience import is_outage
from shared.study.tables.count import TrialTally
from shared.study.tables.write import Ended, Report, beat, write_params, write_reports

N_SLOTS = 2
BACK = Failure(FailureKind.HANDED_BACK, "interrupted: the worker was told to stop")
ERROR = Failure(FailureKind.ERROR, "an error of the program")
COMPLETE, PRUNED = Ended(TrialState.COMPLETE, (0.5,)), Ended(TrialState.PRUNED, (0.5,))
ENDS = (COMPLETE, COMPLETE, PRUNED, COMPLETE, Ended(TrialState.FAIL))
SPACE = FloatDistribution(0, 1)


@dataclass
class Work:
    """What a worker knows of a trial: the steps that it reported, and its last sign of life."""

    beat_s: float
    n_steps: int = 0


class Waiting(threading.Event):
    """The wait for a database that is away, which takes no time; without a plan, it is not waited.

    `meanwhile` is what happens while somebody waits.
    """

    meanwhile: Callable[[], None] | None = None

    def is_set(self) -> bool:
        return self.meanwhile is None

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return False


class SimulatedWorker:
    """A worker process that does nothing but what it is told, one act at a time.

    `trials` are those that it works on; `known` has also those that ended or were taken from it.
    `ended` says how those ended of which it was told that it is written. `hindered_s` is when it
    last could not beat for a reason that is its own.
    """

    def __init__(
        self, line: Line, study_id: int, owner: Owner, config: WorkersConfig, time: SimulatedTime
    ) -> None:
        """Start at work."""
        self.line, self.owner, self.time = line, owner, time
        self._study_id, self._storage = study_id, line.storage
        self.trials: dict[int, Work] = {}
        self.known: dict[int, Work] = {}
        self.ended: dict[int, TrialState] = {}
        self.is_paused = self.is_dead = self.is_slow = False
        self.hindered_s = self.cut_until_s = NEVER_S
        self.due_s = time.now_s
        self.lag_s = self._paused_s = 0.0
        self.waiting = Waiting()
        self._tally = TrialTally(study_id)
        self._reaper = Reaper(
            self._storage, study_id, owner.worker, config, self.waiting, clock=self._clock
        )
        line.clear()
        line.is_down = lambda: time.now_s < max(time.down_until_s, self.cut_until_s)

    @property
    def is_running(self) -> bool:
        """Whether it does anything by itself."""
        return not self.is_paused and not self.is_dead

    @property
    def is_hindered(self) -> bool:
        """Whether something of its own keeps it from showing signs of life."""
        return not self.is_running or self.time.now_s < self.cut_until_s

    def do(self, act: "Act") -> None:
        """Do something; where it would have to wait for a lock, it has not begun."""
        try:
            act(self)
        except Died:
            self.die()
        except Exception as error:
            if not is_outage(error):
                raise
            self.time.disturb()

    def die(self) -> None:
        """Be gone, with all that it believed."""
        self.is_dead = True
        self.time.disturb()

    def pause(self) -> None:
        """Do nothing until told to go on."""
        self.is_paused, self._paused_s = True, self.time.now_s

    def go_on(self, *, clock_stood_still: bool = False) -> None:
        """Go on after a pause, as of a process, or of a whole machine and its clock."""
        if self.is_paused:
            self.lag_s += clock_stood_still * (self.time.now_s - self._paused_s)
        self.is_paused = False
        self.hindered_s = self.due_s = self.time.now_s
        self.time.disturb()

    def cut_off(self, seconds: float) -> None:
        """Not reach the database for so long, as the only one."""
        self.cut_until_s = self.hindered_s = self.time.now_s + seconds
        self.time.calm_since_s = max(self.time.calm_since_s, self.cut_until_s)

    def work(self) -> None:
        """Go on as a worker does: ask for trials, train those, and end them one by one."""
        if not self.trials:
            self.ask()
        elif any(not work.n_steps for work in self.trials.values()):
            self.train()
        else:
            self.finish()

    def ask(self) -> None:
        room = max(1, N_SLOTS - len(self.trials))
        attrs, began_s = self.owner.attrs, self.time.now_s
        begun = ask(self._storage, self._study_id, room, attrs, self._tally, self.waiting)
        for one in begun:
            self.trials[one.trial_id] = self.known[one.trial_id] = Work(began_s)
        if self.time.now_s > began_s:
            self.hindered_s = self.time.now_s  # it could not beat for what it did not know of
        params = {
            one.trial_id: one.params or {"x": (one.number / (one.number + 1), SPACE)}
            for one in begun
        }
        self._storage.transact(lambda connection: write_params(connection, params), self.waiting)

    def train(self) -> None:
        reports = [Report(key, {work.n_steps: 0.5}) for key, work in self.trials.items()]
        if reports:
            self._write(reports)

    def finish(self) -> None:
        for trial_id, work in list(self.trials.items())[:1]:
            end = ENDS[trial_id % len(ENDS)]
            attrs = ERROR.attrs if end.state is TrialState.FAIL else {"epochs": 1}
            self._write([Report(trial_id, {work.n_steps: 0.5}, attrs, end)])
            self.trials.pop(trial_id, None)

    def hand_back(self) -> None:
        """Give a trial up in order, as the reporter does."""
        for trial_id, work in list(self.trials.items())[:1]:
            self._write([Report(trial_id, {work.n_steps: 0.5})])
            retry(self._storage, self._study_id, [trial_id], BACK, closing=self.waiting)
            self.trials.pop(trial_id, None)

    def beat(self) -> None:
        """Show signs of life, and let trials be that were taken."""
        if not self.trials:
            return
        with self._storage.transaction() as connection:
            taken = beat(connection, self.trials)
        for trial_id in taken:
            del self.trials[trial_id]
        for work in self.trials.values():
            work.beat_s = self.time.now_s

    def look(self) -> None:
        """Look for trials whose workers are gone."""
        self._reaper.look()

    def _write(self, reports: list[Report]) -> None:
        running = self._storage.transact(
            lambda connection: write_reports(connection, reports), self.waiting
        )
        for report in reports:
            self.known[report.trial_id].n_steps += 1
            if report.trial_id in running and report.end is not None:
                self.ended[report.trial_id] = report.end.state

    def _clock(self) -> float:
        return self.time.now_s - self.lag_s


Act = Callable[[SimulatedWorker], None]
ACTS: tuple[Act, ...] = (
    *[SimulatedWorker.work] * 4,
    SimulatedWorker.ask,
    SimulatedWorker.finish,
    SimulatedWorker.hand_back,
    SimulatedWorker.beat,
    SimulatedWorker.look,
)
"""What a worker does at a time, what it mostly does more often."""
