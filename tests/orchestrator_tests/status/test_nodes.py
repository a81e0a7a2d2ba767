from collections import Counter

import pytest

from orchestrator.status.nodes import nodes_of
from orchestrator.status.study_reader import Followed, RunningTrial, Training

NOW_S = 10_000.0
GRACE_S = 30.0


def _running(worker: str, node: str, step: int | None, **times_s: float) -> RunningTrial:
    times = {"value_age_s": None, "silent_s": 0.0, "running_s": 30.0} | times_s
    value = None if step is None else 0.5
    return RunningTrial(trial=1, worker=worker, node=node, step=step, value=value, **times)


def _followed(*running: RunningTrial, trained: tuple[Training, ...] = ()) -> Followed:
    return Followed(
        counts=Counter(),
        improvements=(),
        best_values=(),
        front=(),
        failures=(),
        running=running,
        finished=(),
        trained=trained,
        now_s=NOW_S,
    )


def test_workers_of_the_same_name_on_two_nodes_are_two() -> None:
    running = (_running("worker-0", "b", 3), _running("worker-0", "a", None, silent_s=4.0))
    first, second = nodes_of(_followed(*running), GRACE_S)
    assert (first.node, first.workers, first.training, first.starting) == ("a", 1, 0, 1)
    assert (second.node, second.workers, second.training, second.starting) == ("b", 1, 1, 0)
    assert (first.silent_s, second.silent_s) == (4.0, 0.0)


def test_a_worker_is_busy_while_any_of_its_trials_is_in_training() -> None:
    trained = (Training("worker-0", "a", (NOW_S - 100, NOW_S - 50)),)
    running = (_running("worker-0", "a", 3, running_s=40.0), _running("worker-0", "a", None))
    (node,) = nodes_of(_followed(*running, trained=trained), GRACE_S)
    assert node.workers == 1
    assert node.utilisation == pytest.approx(0.9)


def test_the_utilisation_of_a_node_is_the_average_of_its_workers() -> None:
    running = (_running("worker-0", "a", 3), _running("worker-1", "a", None))
    (node,) = nodes_of(_followed(*running), GRACE_S)
    assert node.utilisation == pytest.approx(0.5)


def test_a_trial_without_a_sign_of_life_counts_up_to_its_last() -> None:
    running = _running("worker-0", "a", 3, running_s=300.0, silent_s=240.0)
    (node,) = nodes_of(_followed(running), GRACE_S)
    assert node.utilisation == pytest.approx(0.2)
    assert node.silent_s == 240.0


def test_nobody_is_at_work_on_a_study_that_runs_nothing() -> None:
    trained = (Training("worker-0", "a", (NOW_S - 100, NOW_S - 50)),)
    assert nodes_of(_followed(trained=trained), GRACE_S) == ()
