from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run
from orchestrator.stage import Stage
from orchestrator.status.nodes import NodeStatus
from orchestrator.status.status import Status, describe_status, read_status
from orchestrator.status.study_reader import Failure
from shared.config.sweep import SweepConfig, with_values
from shared.errors import TagsweepError
from shared.study.attributes import SEARCH_S
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage

STATUS = Status(
    study="mine",
    storage="postgresql://user:***@host/db",
    stage=Stage.SEARCH,
    budget=30,
    finished=12,
    complete=8,
    pruned=4,
    failed=1,
    running=2,
    waiting=0,
    best_value=0.25,
    objectives=("validation_loss",),
    best_values=(0.25,),
    best_params={"n_layers": 1},
    trials_per_min=6.0,
    workers=2,
    seconds_left=180.0,
    test=None,
    out_of_fold=None,
    logistic_regression=None,
)


def _run(tmp_path: Path, study_name: str, url: str) -> Run:
    config = with_values(SweepConfig(), {"study": {"n_trials": 4, "name": study_name}})
    return Run(RunPaths(tmp_path), config, url)


def test_a_search_is_described_in_words() -> None:
    described = describe_status(STATUS)
    assert "12 of 30 finished" in described
    assert "8 complete, 4 pruned, 1 failed, 2 running" in described
    assert "6.0 trials/min, 180 s left, 2 workers" in described
    assert "Test" not in described


def test_the_time_left_comes_with_its_range_and_failures_with_their_reason() -> None:
    more = replace(
        STATUS,
        seconds_left_range=(150.0, 240.0),
        prune_rate=1 / 3,
        nodes=(NodeStatus("here", 2, 2, 1, 0.75, 0.5),),
        failures=(Failure(3, "diverged: " + "very " * 40),),
    )
    described = describe_status(more)
    assert "180 s left (150 to 240 s), 2 workers" in described
    assert "12 of 30 finished, 33% pruned" in described
    assert "Node     here: 2 workers, 2 trials in training, 75% busy" in described
    assert "Failed   #3 diverged: very very" in described
    assert max(map(len, described.splitlines())) < 110


def test_a_result_stands_beside_what_it_has_to_beat() -> None:
    done = replace(STATUS, headline=("Accuracy on the test split: 0.75", "Against it: +0.01"))
    assert describe_status(done).endswith(
        "\nTest     Accuracy on the test split: 0.75\n         Against it: +0.01"
    )


def test_a_study_on_a_server_is_read_and_its_password_hidden(
    tmp_path: Path, postgres_url: str, storage: StudyStorage, study_name: str
) -> None:
    run = _run(tmp_path, study_name, postgres_url.replace("postgres@", "postgres:s3cret@"))
    study = open_study(storage, study_name, run.config, "f")
    study.tell(study.ask(), 0.5)
    study.set_user_attr(SEARCH_S, 30.0)
    study.set_user_attr("workers", 3)
    status = read_status(run)
    assert (status.stage, status.finished, status.budget) == ("search", 1, 4)
    assert (status.trials_per_min, status.seconds_left) == (2.0, 90.0)
    assert status.workers == 0, "nobody drives the study"
    assert "s3cret" not in repr(status)


def test_a_run_without_a_study_says_how_to_start_one(
    tmp_path: Path, postgres_url: str, study_name: str
) -> None:
    with pytest.raises(TagsweepError, match="has no study .* yet. Start or resume it with"):
        read_status(_run(tmp_path, study_name, postgres_url))
