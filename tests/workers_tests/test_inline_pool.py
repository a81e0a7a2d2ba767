import time
from dataclasses import replace

import pytest

from shared.config.sections import WorkersConfig
from shared.errors import TagsweepError
from shared.study.study import load_study
from shared.study.tables.study_storage import StudyStorage
from workers import SearchArrays, inline_pool, launch_workers

INLINE = {"pool": "inline"}


def test_the_inline_pool_spends_the_budget(
    storage: StudyStorage, make_spec, arrays: SearchArrays
) -> None:
    spec = make_spec(workers=INLINE, study={"n_trials": 2})
    with launch_workers(spec.config.workers) as pool:
        pool.start(spec, arrays)
        assert pool.poll(1).n_alive == 1
        pool.join(timeout_s=60)
        assert pool.poll(1).n_alive == 0
    assert len(load_study(storage, spec.study_name, spec.config).trials) == 2


def test_the_inline_pool_stops(make_spec, arrays: SearchArrays) -> None:
    spec = make_spec(workers=INLINE, study={"n_trials": 1000})
    with launch_workers(spec.config.workers) as pool:
        pool.start(spec, arrays)
        pool.stop()
        pool.join(timeout_s=60)
        assert pool.poll(1).n_alive == 0


def test_the_inline_pool_waits_for_an_epoch_that_takes_long(
    make_spec, arrays: SearchArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(_spec, _arrays, _number, should_stop) -> None:
        while not should_stop():
            time.sleep(0.1)
        time.sleep(1)

    monkeypatch.setattr(inline_pool, "run_worker", work)
    with launch_workers(WorkersConfig(pool="inline")) as pool:
        pool.start(make_spec(workers=INLINE), arrays)
        pool.join(timeout_s=0.1)
        assert pool.poll(1).n_alive == 0


def test_an_inline_pool_that_never_started_just_ends() -> None:
    with launch_workers(WorkersConfig(pool="inline")) as pool:
        assert pool.poll(1).n_alive == 0


def test_the_inline_pool_says_why_its_worker_failed(make_spec, arrays: SearchArrays) -> None:
    spec = replace(make_spec(workers=INLINE), fingerprint="other")
    with launch_workers(spec.config.workers) as pool:
        pool.start(spec, arrays)
        pool.join(timeout_s=60)
        with pytest.raises(TagsweepError, match=r"The worker failed: .* fingerprint other"):
            pool.poll(1)
