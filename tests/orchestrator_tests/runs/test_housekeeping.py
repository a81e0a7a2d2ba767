from pathlib import Path

import pandas as pd
import pytest
from optuna.trial import TrialState

from orchestrator.runs.housekeeping import (
    StudySummary,
    delete_run,
    describe_loss,
    describe_studies,
    export_trials,
    list_studies,
)
from orchestrator.runs.locks import Lock, locked
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run, keep_config
from shared.config.sweep import SweepConfig, with_values
from shared.errors import InputError, TagsweepError
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage


@pytest.fixture
def run(tmp_path: Path, storage: StudyStorage, postgres_url: str, study_name: str) -> Run:
    """Return a run with a complete, a pruned and a failed trial."""
    config = with_values(SweepConfig(), {"study": {"n_trials": 4, "name": study_name}})
    study = open_study(storage, study_name, config, "f")
    for value in (0.5, 0.25):
        trial = study.ask()
        trial.suggest_float("dropout0", 0, 0.6)
        trial.report(value, 0)
        study.tell(trial, *((value,) if value > 0.3 else (None, TrialState.PRUNED)))
    failed = study.ask()
    failed.set_user_attr("tags", [3, 1])
    study.tell(failed, state=TrialState.FAIL)
    made = Run(RunPaths(tmp_path / "run"), config, postgres_url)
    keep_config(made)
    return made


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_all_trials_are_written_to_a_table(run: Run, tmp_path: Path, kind: str) -> None:
    output = tmp_path / f"trials.{kind}"
    assert export_trials(run, output) == 3
    table = pd.read_csv(output) if kind == "csv" else pd.read_parquet(output)
    assert table["number"].tolist() == [0, 1, 2]
    assert table["state"].tolist() == ["COMPLETE", "PRUNED", "FAIL"]
    assert table["value_validation_loss"].iloc[0] == 0.5
    assert table["intermediate_values_0"].tolist()[:2] == [0.5, 0.25]
    assert table["params_dropout0"].notna().tolist() == [True, True, False]
    assert table["duration"].iloc[0] >= 0
    assert table["user_attrs_tags"].iloc[2] == "[3, 1]"


def test_a_table_may_be_without_the_columns_of_curves(run: Run, tmp_path: Path) -> None:
    whole, short = tmp_path / "whole.csv", tmp_path / "short.csv"
    export_trials(run, whole)
    export_trials(run, short, has_curves=False)
    left_out = set(pd.read_csv(whole)) - set(pd.read_csv(short))
    assert left_out == {"intermediate_values_0"}


def test_another_kind_of_table_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in .csv or .parquet"):
        export_trials(run, tmp_path / "trials.xlsx")


def test_studies_are_listed(run: Run, storage: StudyStorage, postgres_url: str) -> None:
    with locked(storage, run.study_name, Lock.SEARCH):
        (found,) = [s for s in list_studies(postgres_url) if s.name == run.study_name]
    assert found == StudySummary(run.study_name, 2, 4, 0.5, is_driven=True)
    shown = describe_studies([found, StudySummary("new", 0, 10, None, is_driven=False)])
    assert "2 of 4    0.5000  being searched" in shown
    assert "0 of 10         -" in shown
    assert describe_studies([]) == "There are no studies."


def test_a_deleted_run_leaves_nothing(run: Run, postgres_url: str) -> None:
    assert "has 2 finished trials" in describe_loss(run)
    delete_run(run)
    assert not run.paths.root.exists()
    assert run.study_name not in {study.name for study in list_studies(postgres_url)}


def test_a_run_at_work_is_not_deleted(run: Run, storage: StudyStorage) -> None:
    with locked(storage, run.study_name, Lock.SEARCH):
        for act in (delete_run, describe_loss):
            with pytest.raises(TagsweepError, match="is at work"):
                act(run)
    assert run.paths.root.exists()


def test_a_run_without_a_study_is_only_a_directory(tmp_path: Path) -> None:
    bare = Run(RunPaths(tmp_path / "bare"), SweepConfig())
    keep_config(bare)
    assert "has no study yet" in describe_loss(bare)
    delete_run(bare)
    assert not bare.paths.root.exists()
