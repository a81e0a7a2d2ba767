"""Let nothing go wrong any more, and see a search come to its end."""

from benchmarks.model.invariants import Judge, ViolationError
from benchmarks.model.worker import SimulatedWorker
from benchmarks.model.world import INTERVAL_S, World
from shared.study.budget import is_spent

N_ROUNDS = 60
"""How often workers may ask and finish until a search that nothing hinders must be over."""


def come_to_the_end(world: World, judge: Judge) -> None:
    """Have all workers go on until the budget is spent; raise ViolationError where it never is."""
    _revive(world)
    for _ in range(N_ROUNDS):
        world.pass_time(INTERVAL_S)
        for worker in world.workers:
            for _ in list(worker.trials):
                worker.do(SimulatedWorker.finish)
            worker.do(SimulatedWorker.ask)
        judge.judge()
        if is_spent(world.storage, world.study_id):
            judge.judge_end()
            return
    raise ViolationError(f"no end after {N_ROUNDS} rounds in which nothing happened")


def _revive(world: World) -> None:
    """Have those that stood still go on, and at least one worker that is quick enough to watch."""
    for worker in world.workers:
        worker.go_on()
    world.bury_dead()
    if not world.workers:
        world.start_worker(phase_s=0.0)
    world.workers[0].is_slow = False
    world.pass_time(max(0.0, *(one.cut_until_s - world.time.now_s for one in world.workers)))
