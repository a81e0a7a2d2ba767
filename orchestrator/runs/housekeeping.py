"""List studies, write their trials to tables, and delete them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna

from orchestrator.runs.locks import Lock, is_driven, locked
from orchestrator.runs.run import Run, database_of
from shared.errors import InputError, TagsweepError
from shared.files import writing
from shared.study.attributes import CONFIG, FINGERPRINT
from shared.study.liveness import owners_of_running
from shared.study.study import read_attrs, read_config, read_progress
from shared.study.tables.storage import opened_storage
from shared.study.tables.study_storage import StudyStorage

COLUMNS = (
    "number",
    "state",
    "value",
    "datetime_start",
    "datetime_complete",
    "duration",
    "params",
    "user_attrs",
)


@dataclass(frozen=True)
class StudySummary:
    """Hold a line of the list of studies; `best_value` is of the first objective."""

    name: str
    finished: int
    budget: int
    best_value: float | None
    is_driven: bool


def list_studies(storage_url: str) -> list[StudySummary]:
    """Return the studies on a server that tagsweep made, by name."""
    with opened_storage(storage_url) as storage:
        names = sorted(optuna.get_all_study_names(storage))
        return [_summarise(storage, name) for name in names if _is_ours(storage, name)]


def describe_studies(studies: list[StudySummary]) -> str:
    """Say the list of studies in a table for a person."""
    if not studies:
        return "There are no studies."
    width = max(len("study"), *(len(study.name) for study in studies))
    lines = [f"{'study':<{width}}  {'trials':>13}  {'best':>8}"]
    for study in studies:
        best = "-" if study.best_value is None else f"{study.best_value:.4f}"
        trials = f"{study.finished} of {study.budget}"
        at_work = "  being searched" if study.is_driven else ""
        lines.append(f"{study.name:<{width}}  {trials:>13}  {best:>8}{at_work}")
    return "\n".join(lines)


def export_trials(run: Run, output: Path, *, has_curves: bool = True) -> int:
    """Write a run's trials to a CSV or Parquet file, by its name; return how many they are.

    Columns are those of `Study.trials_dataframe`, with a column for each step's intermediate values
    where it `has_curves`; durations are in seconds. Raises InputError for another kind of file.
    """
    if output.suffix not in {".csv", ".parquet"}:
        raise InputError(f"--output must end in .csv or .parquet, but is {output}.")
    with study_of(run) as (study, _):
        curves = ("intermediate_values",) if has_curves else ()
        table = study.trials_dataframe(attrs=(*COLUMNS, *curves))
    table["duration"] = table["duration"].dt.total_seconds()
    for name in table.columns:
        is_list = table[name].map(lambda value: isinstance(value, list))
        table[name] = table[name].where(~is_list, table[name].astype(str))
    write = table.to_csv if output.suffix == ".csv" else table.to_parquet
    with writing(output) as unfinished:
        write(unfinished, index=False)
    return len(table)


def describe_loss(run: Run) -> str:
    """Say what would be lost with a run; raise TagsweepError when it is at work."""
    where = f"the directory {run.paths.root}"
    if run.storage_url is None and not run.paths.database.exists():
        return f"{where} has no study yet.".capitalize()
    with study_of(run) as (study, storage):
        _require_rest(run, storage)
        progress = read_progress(study)
        return (
            f"Study {run.study_name!r} has {progress.finished} finished trials; they and {where}"
            " would be lost."
        )


def delete_run(run: Run) -> None:
    """Delete a run's study and directory; raise TagsweepError when it is at work."""
    if run.storage_url is not None or run.paths.database.exists():
        with study_of(run) as (_, storage):
            _require_rest(run, storage)
            with locked(storage, run.study_name, Lock.SEARCH):  # nobody begins to search meanwhile
                if run.storage_url is not None:
                    optuna.delete_study(study_name=run.study_name, storage=storage)
    shutil.rmtree(run.paths.root)


@contextmanager
def study_of(run: Run) -> Iterator[tuple[optuna.Study, StudyStorage]]:
    """Yield a run's study and its storage; raise TagsweepError when there is none yet."""
    if run.storage_url is None and not run.paths.database.exists():
        raise TagsweepError(f"Run {run.paths.root} has no study yet.")
    with database_of(run) as url, opened_storage(url) as storage:
        if read_config(storage, run.study_name) is None:
            raise TagsweepError(f"There is no study {run.study_name!r} here.")
        yield optuna.load_study(storage=storage, study_name=run.study_name), storage


def _require_rest(run: Run, storage: StudyStorage) -> None:
    if is_driven(storage, run.study_name) or owners_of_running(
        storage, storage.get_study_id_from_name(run.study_name)
    ):
        raise TagsweepError(
            f"Study {run.study_name!r} is at work: stop its driver and workers first."
        )


def _is_ours(storage: StudyStorage, name: str) -> bool:
    attrs = read_attrs(storage, name) or {}
    return CONFIG in attrs and FINGERPRINT in attrs


def _summarise(storage: StudyStorage, name: str) -> StudySummary:
    config = read_config(storage, name)
    progress = read_progress(optuna.load_study(storage=storage, study_name=name))
    return StudySummary(
        name,
        progress.finished,
        0 if config is None else config.study.n_trials,
        None if progress.best is None else progress.best.values[0],
        is_driven(storage, name),
    )
