import json
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from optuna.study import Study
from optuna.trial import TrialState

from orchestrator.exports.to_mlflow import KEY, export_to_mlflow
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run, keep_config
from shared.config.sweep import SweepConfig, with_values
from shared.errors import InputError, TagsweepError
from shared.study.attributes import FAILURE
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage

pytestmark = pytest.mark.filterwarnings(
    # MLflow 3.17 on SQLAlchemy 2.1.
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",
)
FIGURES = {"ap_weighted": 0.75, "per_label": {"good & cheap": 0.5, "absent": None}}


@pytest.fixture
def run(tmp_path: Path, postgres_url: str, study_name: str) -> Run:
    config = with_values(SweepConfig(), {"study": {"name": study_name}})
    made = Run(RunPaths(tmp_path / "run"), config, postgres_url)
    keep_config(made)
    return made


@pytest.fixture
def study(run: Run, storage: StudyStorage) -> Study:
    """Return a study with a complete, a pruned, a failed and a running trial."""
    study = open_study(storage, run.study_name, run.config, "f")
    complete = study.ask()
    complete.suggest_float("dropout0", 0.25, 0.25)
    for step, value in enumerate((0.5, 0.375)):
        complete.report(value, step)
    complete.set_user_attr("epochs", 2)
    study.tell(complete, 0.375)
    study.tell(study.ask(), state=TrialState.PRUNED)
    failed = study.ask()
    failed.set_user_attr(FAILURE, "error: " + 10_000 * "x")
    study.tell(failed, state=TrialState.FAIL)
    study.ask()
    return study


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def _runs(uri: str, experiment: str) -> dict[str | None, MlflowRun]:
    client = MlflowClient(tracking_uri=uri)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found), "a run is there twice"
    return by_name


def test_each_objective_of_several_is_a_metric(run: Run, storage: StudyStorage, uri: str) -> None:
    config = with_values(run.config, {"study": {"objective": ["ap_macro", "n_parameters"]}})
    study = open_study(storage, run.study_name, config, "f")
    trial = study.ask()
    trial.set_user_attr("epochs", 1)
    study.tell(trial, [0.75, 20.0])
    study.tell(study.ask(), state=TrialState.FAIL)
    assert export_to_mlflow(run, uri) == 2
    metrics = _runs(uri, study.study_name)["trial 0"].data.metrics
    assert metrics == {"value/ap_macro": 0.75, "value/n_parameters": 20.0}


def test_each_trial_that_has_ended_is_a_run(run: Run, study: Study, uri: str) -> None:
    assert export_to_mlflow(run, uri) == 3
    found = _runs(uri, study.study_name)
    statuses = {name: exported.info.status for name, exported in found.items()}
    assert statuses == {"trial 0": "FINISHED", "trial 1": "KILLED", "trial 2": "FAILED"}
    complete, trial = found["trial 0"], study.trials[0]
    assert complete.data.params == {"dropout0": "0.25"}
    assert complete.data.metrics == {"validation_loss": 0.375, "value": 0.375}
    assert {"trial": "0", "state": "COMPLETE", "epochs": "2"}.items() <= complete.data.tags.items()
    assert trial.datetime_start is not None
    assert complete.info.start_time == int(trial.datetime_start.timestamp() * 1000)
    client = MlflowClient(tracking_uri=uri)
    history = client.get_metric_history(complete.info.run_id, "validation_loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.5), (1, 0.375)]
    assert found["trial 2"].data.tags[FAILURE].startswith("error: xxx")


def test_an_export_that_is_repeated_writes_only_what_is_new(
    run: Run, study: Study, uri: str
) -> None:
    assert export_to_mlflow(run, uri) == 3
    study.tell(3, 0.25)
    assert export_to_mlflow(run, uri) == 1
    assert export_to_mlflow(run, uri) == 0
    assert len(_runs(uri, study.study_name)) == 4


def test_a_run_that_was_left_unfinished_is_made_anew(run: Run, study: Study, uri: str) -> None:
    export_to_mlflow(run, uri)
    first = _runs(uri, study.study_name)["trial 0"]
    MlflowClient(tracking_uri=uri).update_run(first.info.run_id, status="RUNNING")
    assert export_to_mlflow(run, uri) == 1
    again = _runs(uri, study.study_name)["trial 0"]
    assert (again.info.status, again.info.run_id == first.info.run_id) == ("FINISHED", False)


def test_a_later_study_of_the_same_name_is_not_taken_for_the_first(
    run: Run, study: Study, uri: str
) -> None:
    export_to_mlflow(run, uri)
    (first,) = [r for r in _runs(uri, study.study_name).values() if r.data.tags["trial"] == "0"]
    client = MlflowClient(tracking_uri=uri)
    client.set_tag(first.info.run_id, KEY, "0@2020-01-01 00:00:00")
    assert export_to_mlflow(run, uri) == 1


def test_the_bundle_gives_a_run_with_its_metrics(run: Run, study: Study, uri: str) -> None:
    search = {"study": study.study_name, "key": "k", "best_trial": 0}
    search |= {"trial": 2, "params": {"n": 1}}
    run.paths.bundle.mkdir()
    metrics = {"test": FIGURES, "logistic_regression": FIGURES, "search": search}
    metrics["decisions"] = {"asked": {"threshold": "f1"}}
    (run.paths.bundle / "metrics.json").write_text(json.dumps(metrics))
    export_to_mlflow(run, uri)
    export_to_mlflow(run, uri)
    result = _runs(uri, study.study_name)["result"]
    assert result.data.metrics == {
        f"{name}/{figure}": value
        for name in ("test", "logistic_regression")
        for figure, value in (("ap_weighted", 0.75), ("per_label/good _ cheap", 0.5))
    }
    assert (result.data.tags["ensemble_trial"], result.data.params) == ("2", {"n": "1"})


def test_without_the_extra_the_user_is_told_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match=r"-c constraints.txt '.\[mlflow\]'"):
        export_to_mlflow(run, "sqlite://")


@pytest.mark.usefixtures("study")
def test_an_error_of_mlflow_is_one_line_without_the_password(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TagsweepError, match="MLflow cannot be used") as caught:
        export_to_mlflow(run, "http://me:geheim@127.0.0.1:9")
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)
