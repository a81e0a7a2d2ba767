import shutil
from pathlib import Path

import pytest

from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import (
    Run,
    database_of,
    define_run,
    keep_config,
    load_run,
    require_reach,
    storage_of_workers,
)
from shared.config.sweep import SweepConfig, with_values
from shared.errors import InputError
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage


def test_options_override_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("study: {n_trials: 5, seed: 1}\ndata: {csv: a.csv}")
    run = define_run(path, None, None, {"study": {"n_trials": 7}})
    assert (run.config.study.n_trials, run.config.study.seed) == (7, 1)


@pytest.mark.parametrize(
    "csv", ["some/emotions.csv", "emotions.csv.gz", ["emotions.parquet", "b.csv"], "emotions/*.csv"]
)
def test_a_run_is_named_after_its_data_and_the_study_after_the_run(csv: str | list[str]) -> None:
    run = define_run(None, None, None, {"data": {"csv": csv}})
    assert run.paths.root == Path("runs/emotions")
    assert run.study_name == "emotions"


def test_the_study_name_names_the_run_too() -> None:
    options = {"data": {"csv": Path("a.csv")}, "study": {"name": "mine"}}
    run = define_run(None, None, None, options)
    assert (run.paths.root, run.study_name) == (Path("runs/mine"), "mine")


def test_without_data_there_is_nothing_to_do() -> None:
    with pytest.raises(InputError, match="name a file with --data"):
        define_run(None, None, None, {})


def test_a_run_directory_remembers_its_configuration(tmp_path: Path) -> None:
    options = {"data": {"csv": tmp_path / "a.csv"}, "study": {"n_trials": 7}}
    run = define_run(None, tmp_path / "run", None, options)
    keep_config(run)
    assert define_run(None, tmp_path / "run", None, {}).config == run.config
    larger = load_run(tmp_path / "run", None, {"study": {"n_trials": 9}})
    assert larger.config.study.n_trials == 9
    assert larger.config.data == run.config.data


def test_a_run_keeps_its_study_when_its_directory_is_renamed_or_copied(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("data: {csv: a.csv}")
    keep_config(define_run(sweep, tmp_path / "demo", None, {}))
    shutil.copytree(tmp_path / "demo", tmp_path / "copied")
    moved = (tmp_path / "demo").rename(tmp_path / "other")
    for root in (moved, tmp_path / "copied"):
        assert load_run(root, None, {}).study_name == "demo"
        assert define_run(sweep, root, None, {}).study_name == "demo"
        assert define_run(None, root, None, {}).study_name == "demo"
    options = {"study": {"name": "mine"}}
    assert define_run(sweep, moved, None, options).study_name == "mine"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run directory"):
        load_run(tmp_path, None, {})
    RunPaths(tmp_path).events.touch()
    with pytest.raises(InputError, match="has no study yet: its texts are being embedded"):
        load_run(tmp_path, None, {})


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "ray://head:10001"])
def test_an_address_of_a_cluster_is_taken(tmp_path: Path, address: str) -> None:
    options = {"data": {"csv": tmp_path / "a.csv"}}
    assert define_run(None, tmp_path, None, options, address).ray_address == address


@pytest.mark.parametrize("address", ["head", "head:abc", "head:65536", "ray://head", ":6379"])
def test_what_cannot_be_the_address_of_a_cluster_is_refused(tmp_path: Path, address: str) -> None:
    options = {"data": {"csv": tmp_path / "a.csv"}}
    with pytest.raises(InputError, match=f"must be auto, HOST:PORT or .* but is '{address}'"):
        define_run(None, tmp_path, None, options, address)


def test_a_study_is_resumed_by_name_alone(
    postgres_url: str, storage: StudyStorage, study_name: str
) -> None:
    config = with_values(SweepConfig(), {"study": {"n_trials": 7, "name": study_name}})
    open_study(storage, study_name, config, "f")
    run = define_run(None, None, postgres_url, {"study": {"name": study_name}})
    assert run.config == config


def test_a_given_storage_is_used_as_it_is(tmp_path: Path) -> None:
    options = {"data": {"csv": tmp_path / "a.csv"}}
    run = define_run(None, tmp_path / "run", "postgresql://h/db", options)
    with database_of(run) as url:
        assert url == "postgresql://h/db"
    assert not run.paths.database.exists()
    assert "postgresql" not in repr(run)


def test_workers_on_a_cluster_need_a_server_and_a_store_that_they_reach(tmp_path: Path) -> None:
    shared = with_values(SweepConfig(), {"workers": {"store": "s3://bucket"}})
    url, paths = "postgresql://user@host/db", RunPaths(tmp_path)
    require_reach(Run(paths, SweepConfig()))
    require_reach(Run(paths, shared, url, "auto"))
    with pytest.raises(InputError, match="need a PostgreSQL that they can reach"):
        require_reach(Run(paths, shared, None, "auto"))
    with pytest.raises(InputError, match="need a place for checkpoints"):
        require_reach(Run(paths, SweepConfig(), url, "auto"))


def test_workers_connect_as_their_driver_does_or_to_a_pooler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert storage_of_workers("postgresql://driver/db") == "postgresql://driver/db"
    monkeypatch.setenv("TAGSWEEP_WORKER_STORAGE", "postgresql://pooler/db")
    assert storage_of_workers("postgresql://driver/db") == "postgresql://pooler/db"
    monkeypatch.setenv("TAGSWEEP_WORKER_STORAGE", "mysql://pooler/db")
    with pytest.raises(InputError, match="must be PostgreSQL"):
        storage_of_workers("postgresql://driver/db")
    with pytest.raises(InputError, match="must be PostgreSQL"):
        require_reach(Run(RunPaths(Path("run")), SweepConfig()))
