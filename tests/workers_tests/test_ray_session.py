import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import ray

from shared.config.sections import WorkersConfig
from shared.errors import TagsweepError
from shared.gpu_memory import USABLE, memory_share
from tests.foreign import enter_foreign_folder
from workers.ray_connection import PLACE
from workers.ray_pool import Worker
from workers.ray_session import RaySession, ask_for, count_workers

TIMED_OUT = "The current node timed out\nduring startup."


class Facts(NamedTuple):
    """What a process of Ray's is like."""

    niceness: int
    path: list[str]
    blocked: int
    memory_share: float


def _probe() -> type:
    """Return the class of an actor, which travels whole: no worker can import tests."""

    class Probe(Worker):
        def facts(self) -> tuple[int, list[str], int, float]:
            status = Path("/proc/self/status").read_text()
            blocked = int(status.split("SigBlk:")[1].split()[0], 16)
            return os.getpriority(os.PRIO_PROCESS, 0), sys.path, blocked, memory_share()

    return Probe


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """Return the facts of an actor of a Ray that came up in a foreign folder, at the second try."""
    config, start, starts = WorkersConfig(max=1, gpus_per_worker=0.25), ray.init, []

    def fail_once(**options: Any) -> None:
        starts.append(options)
        if len(starts) == 1:
            raise Exception(TIMED_OUT)  # noqa: TRY002  as Ray does
        start(num_gpus=1, **options)

    with pytest.MonkeyPatch.context() as monkeypatch:
        enter_foreign_folder(tmp_path_factory.mktemp("parent"), monkeypatch)
        monkeypatch.setattr(ray, "init", fail_once)
        session = RaySession(config, None, lambda: ask_for(_probe(), config))
        try:
            yield Facts(*ray.get(session.actors().facts.remote()))
        finally:
            session.close()


def test_a_worker_with_a_quarter_of_a_gpu_takes_a_quarter_of_its_memory(facts: Facts) -> None:
    assert facts.memory_share == pytest.approx(0.25 * USABLE)


def test_workers_are_not_nice(facts: Facts) -> None:
    assert facts.niceness == os.getpriority(os.PRIO_PROCESS, 0)


def test_workers_look_for_code_where_ours_is_and_not_where_the_command_runs(facts: Facts) -> None:
    assert facts.path[0] == str(PLACE)
    assert not [folder for folder in facts.path if folder in ("", ".") or "elsewhere" in folder]


def test_a_terminal_that_goes_is_not_for_workers(facts: Facts) -> None:
    assert facts.blocked & 1 << (signal.SIGHUP - 1)


def test_a_ray_that_does_not_start_twice_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[dict[str, Any]] = []

    def fail(**options: Any) -> None:
        starts.append(options)
        raise Exception(TIMED_OUT)  # noqa: TRY002  as Ray does

    monkeypatch.setattr(ray, "init", fail)
    session: RaySession[None] = RaySession(WorkersConfig(), None, lambda: None)
    with pytest.raises(TagsweepError, match=r"^Ray cannot be started .*: The current .* startup\."):
        session.actors()
    session.close()
    assert len(starts) == 2


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, 8),
        ({"max": 3}, 3),
        ({"cpus_per_worker": 2}, 4),
        ({"cpus_per_worker": 16, "min": 2}, 2),
        ({"gpus_per_worker": 0.25}, 8),
        ({"gpus_per_worker": 1}, 2),
        ({"gpus_per_worker": 0.5, "max": 9}, 9),
    ],
)
def test_workers_fill_the_cores_or_the_gpus(config: dict[str, float], expected: int) -> None:
    assert count_workers(WorkersConfig.model_validate(config), n_cpus=8, n_gpus=2.0) == expected
