import io
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.runs.paths import RunPaths
from orchestrator.runs.ray_job import (
    Job,
    JobStatus,
    _Screen,
    _working_folder,
    launch,
    read_job,
    require_job,
)
from orchestrator.runs.run import Run
from orchestrator.status.status import describe_job
from shared.config.sweep import SweepConfig, load_config, with_values
from shared.errors import InputError, TagsweepError

NOWHERE = "http://127.0.0.1:1"


def _run(folder: Path, store: str | None = None) -> Run:
    return Run(RunPaths(folder), with_values(SweepConfig(), {"workers": {"store": store}}))


def test_a_sweep_whose_files_would_be_lost_with_the_cluster_is_not_launched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"workers.store, which must be set: to a URL such as s3:"):
        launch(_run(tmp_path), NOWHERE)


def test_a_cluster_that_does_not_answer_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TagsweepError, match=f"cluster at {NOWHERE} cannot be reached"):
        launch(_run(tmp_path, "s3://bucket"), NOWHERE)
    with pytest.raises(TagsweepError, match=f"cluster at {NOWHERE} cannot be reached"):
        read_job(Job(NOWHERE, "job"))


def test_a_run_that_was_not_launched_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was not launched. Start it with `tagsweep launch`"):
        require_job(_run(tmp_path))


def test_a_job_gets_all_files_of_its_data_though_they_have_one_name(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "part.csv").write_text(name)
    config = with_values(SweepConfig(), {"data": {"csv": tmp_path / "*" / "part.csv"}})
    with _working_folder(Run(RunPaths(tmp_path / "run"), config)) as folder:
        copied = load_config(folder / "sweep.yaml").data.csv
        assert all(path.is_relative_to(folder) for path in copied)
        assert [path.read_text() for path in copied] == ["a", "b"]


def test_the_log_of_a_job_becomes_progress() -> None:
    out = io.StringIO()
    with _Screen(Console(file=out, width=100)) as screen:
        for line in ("Embedding: 5/5 9 texts/s", "a warning [x]", "Search: 2/2 best 0.4", "done"):
            screen.show(line)
    assert out.getvalue().splitlines() == [
        "Embedding: 5/5 9 texts/s",
        "a warning [x]",
        "Search: 2/2 best 0.4",
        "done",
    ]


def test_a_failed_job_is_described_with_its_reason() -> None:
    status = JobStatus("sweep-1", NOWHERE, "FAILED", "it ended", "Search", 3, 40, "1 pruned")
    assert describe_job(status).splitlines() == [
        f"Job      sweep-1 on {NOWHERE}",
        "State    FAILED",
        "         it ended",
        "Search   3 of 40 1 pruned",
    ]
