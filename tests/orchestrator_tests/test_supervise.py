from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import TrialState

from orchestrator.events import Events, read_events
from orchestrator.exposition import Exposition
from orchestrator.follower import Follower
from orchestrator.progress import Update
from orchestrator.supervise import pace, supervise
from shared.config import SweepConfig
from shared.errors import TagsweepError
from shared.search.study import FAILURE, SEARCH_S, WORKER, StudyProgress, open_study
from shared.sections import StudyConfig
from workers import PoolState, SearchArrays, WorkerSpec


class ScriptedPool:
    """Be a pool that goes through given states, the last one for ever."""

    def __init__(self, *states: PoolState | TagsweepError) -> None:
        self.states = list(states)
        self.calls: list[str] = []
        self.left: list[int] = []
        self.end_of_join: BaseException | None = None

    def start(self, spec: WorkerSpec, arrays: SearchArrays) -> None:
        raise NotImplementedError

    def poll(self, n_left: int) -> PoolState:
        self.left.append(n_left)
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, TagsweepError):
            raise state
        return state

    def stop(self) -> None:
        self.calls.append("stop")

    def size(self) -> int:
        raise NotImplementedError

    def join(self, timeout_s: float) -> None:
        assert timeout_s > 0
        self.calls.append("join")
        if self.end_of_join is not None:
            raise self.end_of_join


@pytest.fixture
def study(storage: RDBStorage, study_name: str) -> Study:
    return open_study(storage, study_name, SweepConfig(), "f")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def follower(study: Study, storage: RDBStorage, log: Path) -> Follower:
    events = Events(log, study.study_name, Exposition(study.study_name, 4))
    return Follower(events, study, storage)


def ignore(_done: int, _detail: str) -> None:
    pass


def _supervise(
    study: Study,
    storage: RDBStorage,
    follower: Follower,
    pool: ScriptedPool,
    timeout_s: float | None = None,
    update: Update = ignore,
    hold: Callable[[], None] = lambda: None,
) -> None:
    limits = StudyConfig(n_trials=4, timeout_s=timeout_s)
    supervise(study, storage, pool, limits, 5, hold, update, follower)


def test_a_search_ends_when_all_workers_have_left(
    study: Study, storage: RDBStorage, follower: Follower
) -> None:
    pool = ScriptedPool(PoolState(2), PoolState(1), PoolState(0))
    _supervise(study, storage, follower, pool)
    assert pool.calls == ["stop", "join"]
    assert pool.left == [4, 4, 4]
    assert 0.9 < study.user_attrs[SEARCH_S] < 10


def test_the_time_of_earlier_starts_counts(
    study: Study, storage: RDBStorage, follower: Follower
) -> None:
    study.set_user_attr(SEARCH_S, 100.0)
    pool = ScriptedPool(PoolState(1))
    _supervise(study, storage, follower, pool, timeout_s=100.0)
    assert pool.calls == ["stop", "join"]
    assert study.user_attrs[SEARCH_S] == pytest.approx(100, abs=1)


def test_the_trials_of_a_lost_worker_are_enqueued_again(
    study: Study, storage: RDBStorage, follower: Follower, log: Path
) -> None:
    for name in ("worker-1", "worker-10", "laptop-7"):
        study.ask().set_user_attr(WORKER, name)
    _supervise(
        study, storage, follower, ScriptedPool(PoolState(1, lost=(1,)), PoolState(0, lost=(1,)))
    )
    lost, left, other, *again = study.trials
    assert lost.user_attrs[FAILURE] == "lost: its worker died"
    assert left.user_attrs[FAILURE].startswith("interrupted")
    assert other.state == TrialState.RUNNING, "a worker without a driver is not the driver's"
    assert [trial.state for trial in again] == [TrialState.WAITING] * 2
    told = [(e["event"], e["number"]) for e in read_events(log) if "number" in e]
    assert told == [
        ("trial_lost", 0),
        ("trial_retried", 3),
        ("trial_handed_back", 1),
        ("trial_retried", 4),
    ]


def test_workers_are_stopped_and_their_trials_enqueued_again_when_a_worker_fails(
    study: Study, storage: RDBStorage, follower: Follower
) -> None:
    study.ask().set_user_attr(WORKER, "worker-0")
    pool = ScriptedPool(TagsweepError("boom"))
    with pytest.raises(TagsweepError, match="boom"):
        _supervise(study, storage, follower, pool)
    assert pool.calls == ["stop", "join"]
    assert study.trials[0].user_attrs[FAILURE].startswith("interrupted")


def test_trials_are_enqueued_again_though_the_user_does_not_wait_for_the_workers(
    study: Study, storage: RDBStorage, follower: Follower
) -> None:
    study.ask().set_user_attr(WORKER, "worker-0")
    pool = ScriptedPool(PoolState(0))
    pool.end_of_join = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        _supervise(study, storage, follower, pool)
    assert study.trials[0].user_attrs[FAILURE].startswith("interrupted")


def test_a_driver_that_another_has_replaced_leaves_the_trials_of_its_workers(
    study: Study, storage: RDBStorage, follower: Follower
) -> None:
    study.ask().set_user_attr(WORKER, "worker-0")
    pool, refuse = ScriptedPool(PoolState(1)), Mock(side_effect=TagsweepError("another"))
    with pytest.raises(TagsweepError, match="another"):
        _supervise(study, storage, follower, pool, hold=refuse)
    assert pool.calls == ["stop", "join"]
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]


def test_what_is_shown_says_how_far_the_search_is(
    study: Study, storage: RDBStorage, follower: Follower
) -> None:
    study.tell(study.ask(), 0.25)
    study.set_user_attr(SEARCH_S, 60.0)
    shown: list[tuple[int, str]] = []
    pool = ScriptedPool(PoolState(0))
    _supervise(study, storage, follower, pool, update=lambda *what: shown.append(what))
    assert shown == [
        (
            1,
            "0 pruned, 0 failed, 0 running, best 0.2500 (#0), 1.0 trials/min, 180 s left",
        )
    ]


def test_the_pace_foresees_the_end_of_trials_or_of_time() -> None:
    progress = StudyProgress(complete=8, pruned=2, failed=3, running=1, waiting=0, best=None)
    assert pace(progress, 40, None, 60).trials_per_min == pytest.approx(10)
    assert pace(progress, 40, None, 60).seconds_left == pytest.approx(180)
    assert pace(progress, 40, 100, 60).seconds_left == pytest.approx(40)
    assert pace(progress, 5, None, 60).seconds_left == 0


def test_there_is_no_pace_before_anything_has_finished() -> None:
    progress = StudyProgress(complete=0, pruned=0, failed=0, running=1, waiting=0, best=None)
    assert pace(progress, 40, None, 60).seconds_left is None
