"""What must hold of a search after every step, and when it is over."""

from collections import Counter
from collections.abc import Sequence

from optuna.trial import TrialState

from benchmarks.model.rows import TrialRow, read_rows
from benchmarks.model.world import GRACE_S, World
from shared.study.attributes import FailureKind

GIVEN_UP = (FailureKind.LOST, FailureKind.HANDED_BACK)
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
TAKEN_WITHIN_S = 8 * GRACE_S
"""How long a dead worker's trial may run when nothing else happens: the reaper may be dead too,
or too slow to see anything."""
UNHEARD = "lost: no sign of life"


class ViolationError(AssertionError):
    """Something that must hold, and does not."""


class Judge:
    """Whoever looks at all rows after every step, and remembers those of the trials that ended."""

    def __init__(self, world: World) -> None:
        """Have seen nothing yet."""
        self._world, self._ended = world, dict[int, str]()

    def judge(self) -> list[TrialRow]:
        """Return all trials; raise ViolationError where they are not as they must be."""
        world, rows = self._world, read_rows(self._world.database, self._world.study_id)
        self._judge_ended(rows)
        _judge_counts(world, rows)
        _judge_successors(rows, world.workers_config.max_retries)
        for row in rows:
            if row.state is TrialState.RUNNING:
                _judge_owner(world, row)
        if sum(driver.has_lock for driver in world.drivers) > 1:
            raise ViolationError("two drivers have the lock")
        return rows

    def judge_ended(self) -> None:
        """Raise ViolationError where an ended trial is not as it was; for the midst of a step."""
        self._judge_ended(read_rows(self._world.database, self._world.study_id))

    def judge_end(self) -> None:
        """Raise ViolationError where a search that is over has left anything."""
        rows = self.judge()
        states = Counter(row.state for row in rows)
        if states[TrialState.RUNNING] or states[TrialState.WAITING]:
            raise ViolationError(f"left over: {states}")
        if sum(states[state] for state in FINISHED) != self._world.n_trials:
            raise ViolationError(f"{states} of a budget of {self._world.n_trials}")

    def _judge_ended(self, rows: Sequence[TrialRow]) -> None:
        """No row of an ended trial changes, and each is ended as was said."""
        told = {key: state for one in self._world.everybody for key, state in one.ended.items()}
        for row in rows:
            if row.trial_id in told and row.state is not told[row.trial_id]:
                raise ViolationError(f"{row} was ended as {told[row.trial_id]}")
            if not row.state.is_finished():
                continue
            before = self._ended.get(row.trial_id)
            if before is None:
                self._ended[row.trial_id] = row.digest
                _judge_taking(self._world, row)
            elif before != row.digest:
                raise ViolationError(f"{row} has changed after its end")
        if lost := self._ended.keys() - {row.trial_id for row in rows}:
            raise ViolationError(f"trials {lost} are gone")


def _judge_counts(world: World, rows: Sequence[TrialRow]) -> None:
    """The budget holds, what waits included, and numbers are dense."""
    if [row.number for row in rows] != list(range(len(rows))):
        raise ViolationError(f"numbers {[row.number for row in rows]}")
    n_counted = sum(row.state is not TrialState.FAIL for row in rows)
    if n_counted > world.n_trials:
        raise ViolationError(f"{n_counted} trials of a budget of {world.n_trials}")


def _judge_successors(rows: Sequence[TrialRow], max_retries: int) -> None:
    """Each trial that was given up runs again once, as the same one, unless lost too often."""
    successors = Counter(row.predecessor for row in rows)
    known = {row.trial_id: row for row in rows}
    for row in rows:
        if row.failure is not None and row.failure.kind in GIVEN_UP:
            is_lost = row.failure.kind is FailureKind.LOST
            is_given_up = is_lost and row.n_losses + 1 > max_retries
            if successors[row.trial_id] != (0 if is_given_up else 1):
                raise ViolationError(f"{row} has {successors[row.trial_id]} successors")
        elif successors[row.trial_id]:
            raise ViolationError(f"{row} has a successor")
        if row.predecessor is not None:
            _judge_link(row, known[row.predecessor])


def _judge_link(row: TrialRow, failed: TrialRow) -> None:
    is_lost = failed.failure is not None and failed.failure.kind is FailureKind.LOST
    if (row.origin, row.n_losses) != (failed.origin, failed.n_losses + is_lost):
        raise ViolationError(f"{row} does not say that it runs {failed} again")
    if not failed.params.items() <= row.params.items():
        raise ViolationError(f"{row} has other parameters than {failed}")


def _judge_owner(world: World, row: TrialRow) -> None:
    """What runs is known to who runs it and to nobody else, or is soon taken from the dead."""
    for worker in world.everybody:
        if worker.is_dead:
            continue
        if worker.owner == row.owner and row.trial_id not in worker.trials:
            raise ViolationError(f"{worker.owner} knows nothing of its {row}")
        if worker.owner != row.owner and row.trial_id in worker.trials:
            raise ViolationError(f"{worker.owner} works on {row} of {row.owner}")
        if worker.owner == row.owner and row.n_values != worker.known[row.trial_id].n_steps:
            raise ViolationError(f"{worker.owner} has reported more of {row}")
    dead = [one for one in world.everybody if one.is_dead and one.owner == row.owner]
    calm_s = world.time.now_s - world.time.calm_since_s
    is_watched = any(one.is_running and not one.is_slow for one in world.workers)
    if dead and calm_s > TAKEN_WITHIN_S and is_watched:
        raise ViolationError(f"{row} of a dead worker still runs after {calm_s} s")


def _judge_taking(world: World, row: TrialRow) -> None:
    """Nobody is taken for dead whom nothing of its own has hindered since its last sign of life."""
    if row.failure is None or not row.failure.reason.startswith(UNHEARD):
        return
    for worker in world.everybody:
        if worker.owner != row.owner or worker.is_hindered or row.trial_id not in worker.known:
            continue
        work = worker.known[row.trial_id]
        if worker.hindered_s < work.beat_s:
            raise ViolationError(
                f"{row} was taken from a worker that lives, heard at {work.beat_s} s"
            )
