from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from optuna.study import Study
from optuna.trial import TrialState

from orchestrator.events.events import Events, read_events
from orchestrator.events.follower import Follower
from orchestrator.events.prometheus import Exposition
from orchestrator.runs.locks import LockedError
from orchestrator.search.supervise import Driver, pace, supervise
from orchestrator.terminal.progress import Update
from shared.config.sweep import SweepConfig
from shared.errors import TagsweepError
from shared.study.attributes import FAILURE, SEARCH_S, Limits, Owner
from shared.study.budget import ask
from shared.study.patience import OutageError
from shared.study.study import StudyProgress, open_study
from shared.study.tables.study_storage import StudyStorage
from workers import PoolState, SearchArrays, WorkerSpec

DRIVER = "the driver"


class ScriptedPool:
    """Be a pool that goes through given states, the last one for ever."""

    def __init__(self, *states: PoolState | TagsweepError) -> None:
        self.states = list(states)
        self.calls: list[str] = []
        self.left: list[int] = []

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


@pytest.fixture
def study(storage: StudyStorage, study_name: str) -> Study:
    return open_study(storage, study_name, SweepConfig(), "f")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def follower(study: Study, storage: StudyStorage, log: Path) -> Follower:
    events = Events(log, study.study_name, Exposition(study.study_name, 4))
    return Follower(events, study, storage)


def ignore(_done: int, _detail: str) -> None:
    pass


def _supervise(
    study: Study,
    storage: StudyStorage,
    follower: Follower,
    pool: ScriptedPool,
    timeout_s: float | None = None,
    update: Update = ignore,
    hold: Callable[[], None] = lambda: None,
) -> None:
    limits = Limits(n_trials=4, timeout_s=timeout_s)
    supervise(study, storage, pool, limits, 5, Driver(DRIVER, hold), update, follower)


def _begin(study: Study, storage: StudyStorage, worker: str, driver: str | None = DRIVER) -> None:
    ask(storage, study._study_id, attrs=Owner(worker, driver).attrs)


def test_a_search_ends_when_all_workers_have_left(
    study: Study, storage: StudyStorage, follower: Follower
) -> None:
    pool = ScriptedPool(PoolState(2), PoolState(1), PoolState(0))
    _supervise(study, storage, follower, pool)
    assert pool.calls == ["stop", "join"]
    assert pool.left == [4, 4, 4]
    assert 0.9 < study.user_attrs[SEARCH_S] < 10


def test_the_time_of_earlier_starts_counts(
    study: Study, storage: StudyStorage, follower: Follower
) -> None:
    study.set_user_attr(SEARCH_S, 100.0)
    pool = ScriptedPool(PoolState(1))
    _supervise(study, storage, follower, pool, timeout_s=100.0)
    assert pool.calls == ["stop", "join"]
    assert study.user_attrs[SEARCH_S] == pytest.approx(100, abs=1)


def test_the_trials_of_a_lost_worker_are_enqueued_again(
    study: Study, storage: StudyStorage, follower: Follower, log: Path
) -> None:
    for worker, driver in (("worker-1", DRIVER), ("worker-10", DRIVER), ("worker-1", None)):
        _begin(study, storage, worker, driver)
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
    study: Study, storage: StudyStorage, follower: Follower
) -> None:
    _begin(study, storage, "worker-0")
    pool = ScriptedPool(TagsweepError("boom"))
    with pytest.raises(TagsweepError, match="boom"):
        _supervise(study, storage, follower, pool)
    assert pool.calls == ["stop", "join"]
    assert study.trials[0].user_attrs[FAILURE].startswith("interrupted")


def test_a_driver_that_another_has_replaced_leaves_the_trials_of_its_workers(
    study: Study, storage: StudyStorage, follower: Follower
) -> None:
    _begin(study, storage, "worker-0")
    pool, refuse = ScriptedPool(PoolState(1)), Mock(side_effect=LockedError("another"))
    with pytest.raises(LockedError, match="another"):
        _supervise(study, storage, follower, pool, hold=refuse)
    assert pool.calls == ["stop", "join"]
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]


def test_what_is_shown_says_how_far_the_search_is(
    study: Study, storage: StudyStorage, follower: Follower
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


def test_while_nothing_shows_yet_it_is_said_what_is_waited_for(
    study: Study, storage: StudyStorage, follower: Follower
) -> None:
    shown: list[str] = []

    def update(_done: int, detail: str) -> None:
        shown.append(detail)
        if len(shown) == 2:
            _begin(study, storage, "worker-0")

    pool = ScriptedPool(PoolState(0, 2), PoolState(1, 1), PoolState(2), PoolState(0))
    _supervise(study, storage, follower, pool, update=update)
    assert shown[:3] == [
        "waiting for 2 workers, which import what training needs",
        "waiting for the first trial to begin",
        "waiting for the first trial to end, 1 running",
    ]
    assert "waiting" not in shown[3]


def test_the_pace_foresees_the_end_of_trials_or_of_time() -> None:
    progress = StudyProgress(complete=8, pruned=2, failed=3, running=1, waiting=0, best=None)
    assert pace(progress, 40, None, 60).trials_per_min == pytest.approx(10)
    assert pace(progress, 40, None, 60).seconds_left == pytest.approx(180)
    assert pace(progress, 40, 100, 60).seconds_left == pytest.approx(40)
    assert pace(progress, 5, None, 60).seconds_left == 0


def test_there_is_no_pace_before_anything_has_finished() -> None:
    progress = StudyProgress(complete=0, pruned=0, failed=0, running=1, waiting=0, best=None)
    assert pace(progress, 40, None, 60).seconds_left is None


def test_an_outage_that_ended_the_search_is_not_waited_for_again(
    study: Study, storage: StudyStorage, follower: Follower
) -> None:
    """Nor does what comes after it hide it."""
    _begin(study, storage, "worker-0")
    pool, away = ScriptedPool(PoolState(1)), Mock(side_effect=OutageError("away for 300 s"))
    with pytest.raises(OutageError, match="away for 300 s"):
        _supervise(study, storage, follower, pool, hold=away)
    assert pool.calls == ["stop", "join"]
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]


def test_what_ended_the_search_is_raised_whatever_comes_after_it(
    study: Study, storage: StudyStorage, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = ScriptedPool(TagsweepError("boom"))
    away = Mock(side_effect=OutageError("away"))
    monkeypatch.setattr("orchestrator.search.supervise.hand_back", away)
    with pytest.raises(TagsweepError, match="boom"):
        _supervise(study, storage, follower, pool)
    assert away.called


def test_a_second_interrupt_shortens_the_wait_and_hands_back_all_the_same(
    study: Study, storage: StudyStorage, follower: Follower
) -> None:
    class Impatient(ScriptedPool):
        def join(self, timeout_s: float) -> None:
            self.calls.append(f"join {timeout_s:g}")
            if timeout_s:
                raise KeyboardInterrupt

    _begin(study, storage, "worker-0")
    pool = Impatient(PoolState(1))
    with pytest.raises(KeyboardInterrupt):
        _supervise(study, storage, follower, pool, hold=Mock(side_effect=KeyboardInterrupt))
    assert pool.calls == ["stop", "join 30", "join 0"]
    assert study.trials[0].state == TrialState.FAIL
