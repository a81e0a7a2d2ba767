"""The world of one simulation: a study, its time, and the processes that meet there."""

from collections.abc import Iterator
from itertools import count

from benchmarks.model.clock import SimulatedTime
from benchmarks.model.database import Database
from benchmarks.model.driver import SimulatedDriver
from benchmarks.model.worker import SimulatedWorker
from orchestrator.runs.locks import Lock, LockedError
from shared.config.sections import StudyConfig, WorkersConfig
from shared.config.sweep import SweepConfig
from shared.study.attributes import Owner
from shared.study.study import open_study
from shared.study.tables.read import id_of

INTERVAL_S, SLOW_INTERVAL_S, GRACE_S = 10.0, 20.0, 30.0
"""A slow worker is too slow to watch others, and still quick enough to be heard."""
_KILL_SESSION = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND classid = :kind AND objid = :study
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class World:
    """A study with so much of a budget, and who works on it and who did."""

    def __init__(self, database: Database, n_trials: int, max_retries: int) -> None:
        """Open a new study, whose workers beat every INTERVAL_S."""
        self.database, self.n_trials = database, n_trials
        self.workers_config = WorkersConfig(
            heartbeat_interval_s=INTERVAL_S,
            heartbeat_grace_s=GRACE_S,
            max_retries=max_retries,
        )
        self.time = SimulatedTime(database)
        self.workers: list[SimulatedWorker] = []
        self.gone: list[SimulatedWorker] = []
        self.drivers: list[SimulatedDriver] = []
        self._drivers_line, *self._lines = database.lines
        self._names = count()
        database.n_studies += 1
        self.storage = self._drivers_line.storage
        self.study = open_study(self.storage, f"model-{database.n_studies}", self._config(), "f")
        self.study_id = id_of(self.study)

    @property
    def everybody(self) -> list[SimulatedWorker]:
        """All workers that there ever were."""
        return [*self.workers, *self.gone]

    def start_worker(self, phase_s: float) -> None:
        """Have one more worker, in the pool of the driver if there is one."""
        pool = self.drivers[0].id if self.drivers else None
        owner = Owner(f"worker {next(self._names)}", pool)
        line = self._lines.pop()
        self.workers.append(
            SimulatedWorker(line, self.study_id, owner, self.workers_config, self.time)
        )
        self.workers[-1].due_s += phase_s

    def bury_dead(self) -> None:
        """Have the dead no more, so that others may come in their place."""
        for worker in [one for one in self.workers if one.is_dead]:
            self.workers.remove(worker)
            self.gone.append(worker)
            self._lines.append(worker.line)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in which each worker that can shows signs of life, and looks for others'.

        It looks first, which is the worse order after a fault.
        """
        end_s = self.time.now_s + seconds
        while (due := min(self._due(), default=None)) is not None and due[0] <= end_s:
            self.time.move_to(due[0])
            worker = self.workers[due[1]]
            worker.due_s = self.time.now_s + (SLOW_INTERVAL_S if worker.is_slow else INTERVAL_S)
            worker.do(SimulatedWorker.look)
            worker.do(SimulatedWorker.beat)
        self.time.move_to(end_s)

    def be_down(self, seconds: float) -> None:
        """Have nobody reach the database for so long."""
        self.time.down_until_s = self.time.now_s + seconds
        self.pass_time(seconds)
        self.time.disturb()

    def sleep(self, seconds: float, *, clocks_stand_still: bool) -> None:
        """Have the machine sleep that all of this runs on."""
        self.time.move_to(self.time.now_s + seconds)
        for worker in self.workers:
            worker.lag_s += seconds * clocks_stand_still
        self.time.disturb()

    def drive(self, n_more: int) -> None:
        """Have a driver more, which extends the budget, unless there is one."""
        self.n_trials += n_more
        try:
            driver = SimulatedDriver(
                self.storage, self.study, f"driver {next(self._names)}", self._config()
            )
        except LockedError:
            self.n_trials -= n_more
        else:
            self.drivers.append(driver)

    def poll(self, driver: SimulatedDriver) -> None:
        """Have a driver look at its pool; where another drives, it leaves."""
        pool = {
            one.owner for one in self.everybody if one.is_dead and one.owner.driver == driver.id
        }
        try:
            driver.poll(pool)
        except LockedError:
            self.leave(driver)

    def leave(self, driver: SimulatedDriver) -> None:
        """Have a driver end, and its workers stay."""
        self.drivers.remove(driver)
        driver.leave()

    def end_drivers_session(self) -> None:
        """Have the server end the session that holds the lock of the search."""
        key = {"kind": Lock.SEARCH.value, "study": self.study_id}
        self.database.execute(_KILL_SESSION, **key).all()
        for driver in self.drivers:
            driver.has_lock = False

    def close(self) -> None:
        """Leave nothing behind."""
        for driver in self.drivers:
            driver.leave()

    def _due(self) -> Iterator[tuple[float, int]]:
        return ((one.due_s, i) for i, one in enumerate(self.workers) if one.is_running)

    def _config(self) -> SweepConfig:
        study = StudyConfig(n_trials=self.n_trials)
        return SweepConfig(study=study, workers=self.workers_config)
