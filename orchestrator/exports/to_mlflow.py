"""Export a study to MLflow: an experiment with one run for each trial that has ended."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from orchestrator.bundle.manifest import read_metrics
from orchestrator.runs.housekeeping import study_of
from orchestrator.runs.run import Run
from shared.errors import InputError, TagsweepError
from shared.extras import way_to_install

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

KEY = "tagsweep.key"
"""The tag that says what a run was made of, so that it is made once."""
STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}
BATCH = 1000
"""Runs that are read, or metrics that are written, at a time: MLflow's own limit."""
LOSS = "validation_loss"
"""What trials report after each epoch, whatever they are compared by."""
MAX_CHARACTERS = 5000
"""How much of an attribute goes into a tag."""


@dataclass(frozen=True)
class Record:
    """Hold what becomes a run; `steps` are its metrics, by name, value and step.

    `key` tells it from all others, and from those of an earlier study of the same name.
    """

    key: str
    name: str
    status: str
    begun_ms: int
    ended_ms: int
    tags: Mapping[str, Any]
    params: Mapping[str, Any]
    steps: Sequence[tuple[str, float, int]]


def export_to_mlflow(run: Run, uri: str) -> int:
    """Write to an MLflow server or database what it does not have yet; return how many trials.

    The experiment is called like the study. A trial gives its parameters, its intermediate values
    by step, its value, and its attributes as tags; the bundle, when there is one, gives a run with
    its metrics. What an interrupted export has left unfinished is made anew. Raises InputError
    without the extra `mlflow`, TagsweepError when MLflow cannot be used.
    """
    with _client(uri) as client, study_of(run) as (study, _):
        experiment_id = _experiment(client, run.study_name)
        known = set(_known(client, experiment_id))
        ended = study.get_trials(deepcopy=False, states=tuple(STATUS))
        new = [trial for trial in ended if _key(trial) not in known]
        for trial in new:
            _write(client, experiment_id, _of_trial(study, trial))
        metrics = read_metrics(run.paths.bundle) if run.paths.bundle.exists() else None
        if metrics and metrics["search"]["study"] == run.study_name:
            result = _of_result(metrics)
            if result.key not in known:
                _write(client, experiment_id, result)
    return len(new)


@contextmanager
def _client(uri: str) -> Iterator["MlflowClient"]:
    """Yield a client; what MLflow raises meanwhile becomes one line, without a password."""
    # MLflow would tell its makers of each use, and try a server that is not there for minutes.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise InputError(
            f"--mlflow needs MLflow, but it is not installed. {way_to_install('mlflow')}"
        ) from error
    try:
        yield MlflowClient(tracking_uri=uri)
    except MlflowException as error:
        reason, password = " ".join(str(error).split()), urlsplit(uri).password
        shown = reason.replace(password, "***") if password else reason
        raise TagsweepError(
            f"MLflow cannot be used: {shown} Check --mlflow, then run the same command again to"
            " go on."
        ) from error


def _experiment(client: "MlflowClient", name: str) -> str:
    found = client.get_experiment_by_name(name)
    return client.create_experiment(name) if found is None else str(found.experiment_id)


def _known(client: "MlflowClient", experiment_id: str) -> Iterator[str]:
    """Yield the keys of the runs that are there; delete those that an export has left."""
    for run in list(_runs(client, experiment_id)):
        if run.info.status == "RUNNING":
            client.delete_run(run.info.run_id)
        else:
            yield run.data.tags[KEY]


def _runs(client: "MlflowClient", experiment_id: str) -> Iterator["MlflowRun"]:
    """Yield the runs that an export has made."""
    token: str | None = None
    while True:
        page = client.search_runs([experiment_id], max_results=BATCH, page_token=token)
        yield from (run for run in page if KEY in run.data.tags)
        token = page.token
        if not token:
            return


def _key(trial: FrozenTrial) -> str:
    return f"{trial.number}@{trial.datetime_complete}"


def _of_trial(study: Study, trial: FrozenTrial) -> Record:
    ended_ms = _ms(trial.datetime_complete)
    steps = [(LOSS, value, step) for step, value in trial.intermediate_values.items()]
    values, names = trial.values or [], study.metric_names or [""]
    is_one = len(names) == 1
    last = [
        ("value" if is_one else f"value/{name}", value, 0)
        for name, value in zip(names, values, strict=False)
    ]
    return Record(
        key=_key(trial),
        name=f"trial {trial.number}",
        status=STATUS[trial.state],
        begun_ms=_ms(trial.datetime_start) or ended_ms,
        ended_ms=ended_ms,
        tags={"trial": trial.number, "state": trial.state.name} | trial.user_attrs,
        params=trial.params,
        steps=steps + last,
    )


def _of_result(metrics: Mapping[str, Any]) -> Record:
    search, now_ms = metrics["search"], _ms(datetime.now().astimezone())
    asked = json.dumps(metrics["decisions"]["asked"], sort_keys=True)
    measured = {name: figures for name, figures in metrics.items() if name != "search"}
    return Record(
        key=f"{search['key']}@{asked}",
        name="result",
        status=STATUS[TrialState.COMPLETE],
        begun_ms=now_ms,
        ended_ms=now_ms,
        tags={"best_trial": search["best_trial"], "ensemble_trial": search["trial"]},
        params=search["params"],
        steps=[(name, value, 0) for name, value in _figures(measured)],
    )


def _write(client: "MlflowClient", experiment_id: str, record: Record) -> None:
    """Write a run; it is finished last, so that one whose export was interrupted can be told."""
    from mlflow.entities import Metric, Param

    tags = {key: str(value)[:MAX_CHARACTERS] for key, value in record.tags.items()}
    created = client.create_run(
        experiment_id, record.begun_ms, tags | {KEY: record.key}, record.name
    )
    run_id = created.info.run_id
    params = [Param(name, str(value)) for name, value in record.params.items()]
    metrics = [Metric(name, value, record.ended_ms, step) for name, value, step in record.steps]
    client.log_batch(run_id, params=params)
    for first in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics[first : first + BATCH])
    client.set_terminated(run_id, record.status, record.ended_ms)


def _figures(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of nested mappings, by names that MLflow allows."""
    for key, value in values.items():
        name = prefix + re.sub(r"[^\w.\- ]", "_", key)
        if isinstance(value, Mapping):
            yield from _figures(value, f"{name}/")
        elif isinstance(value, int | float):
            yield name, float(value)


def _ms(time: datetime | None) -> int:
    return 0 if time is None else int(time.timestamp() * 1000)
