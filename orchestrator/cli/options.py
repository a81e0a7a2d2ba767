"""Define the options that several commands share, and lay them out as the configuration does."""

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.runs.secrets import read_secret
from orchestrator.terminal.console import LogLevel, exit_codes

ConfigFile = Annotated[Path | None, typer.Argument(metavar="[CONFIG.yaml]", help="The sweep.")]
RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="The run directory.")]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help="Labelled texts: CSV, JSON lines, Parquet, Arrow; a 'pattern*'; given again, several.",
    ),
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help="Of text files, such as cp1252; default: UTF-8.")
]
Separator = Annotated[
    str | None,
    typer.Option(
        "--separator",
        metavar="comma|semicolon|tab|pipe",
        help="Of a CSV's fields; default: what parts its header.",
    ),
]
TextColumn = Annotated[str | None, typer.Option("--text-column", help="The column of texts.")]
LabelColumns = Annotated[
    str | None,
    typer.Option("--label-columns", metavar="A,B,C", help="Labels; default: all 0/1 columns."),
]
ListColumn = Annotated[
    str | None,
    typer.Option("--list-column", help="One column that lists labels, as a;b;c or a JSON list."),
]
ClassColumn = Annotated[
    str | None,
    typer.Option("--class-column", help="One column of class names, in place of labels."),
]
EncoderName = Annotated[
    str | None, typer.Option("--encoder", help="A sentence-transformers model.")
]
NTrials = Annotated[int | None, typer.Option("--n-trials", help="Trials that are to finish.")]
Timeout = Annotated[float | None, typer.Option("--timeout", help="Seconds of search at most.")]
NWorkers = Annotated[int | None, typer.Option("--n-workers", help="Worker processes at most.")]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        envvar="RAY_ADDRESS",
        show_envvar=True,
        help="An existing Ray cluster: auto, HOST:PORT or ray://HOST:10001; default: this machine.",
    ),
]
JobAddress = Annotated[
    str,
    typer.Option(
        "--ray-address",
        envvar="RAY_API_SERVER_ADDRESS",
        show_envvar=True,
        help="The dashboard of the cluster, or the way to it: http://HOST:8265.",
    ),
]
OptionalRunDir = Annotated[
    Path | None, typer.Option("--run-dir", help="Where the run lives; default: runs/NAME.")
]
STORAGE = "TAGSWEEP_STORAGE"
_FROM = f"From {STORAGE}, or the file that {STORAGE}_FILE names, if not given."


def _storage_or_secret(given: str | None) -> str | None:
    with exit_codes():
        return given or read_secret(STORAGE)


def _require_storage(given: str | None) -> str:
    url = _storage_or_secret(given)
    if url is None:
        raise typer.BadParameter(
            f"A PostgreSQL must be named, best in {STORAGE}. Of a run with a PostgreSQL of its own,"
            " `tagsweep status RUN` tells."
        )
    return url


Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        callback=_storage_or_secret,
        help=f"postgresql://... of a server; default: a PostgreSQL in the run directory. {_FROM}",
    ),
]
ServerStorage = Annotated[
    str, typer.Option("--storage", callback=_require_storage, help=f"postgresql://... {_FROM}")
]
StudyName = Annotated[str | None, typer.Option("--study-name", help="Default: the run's name.")]
Dashboard = Annotated[
    bool, typer.Option("--dashboard", help="Show the study in optuna-dashboard meanwhile.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of splits, sampling and weights.")]
MetricsPort = Annotated[
    int | None,
    typer.Option("--metrics-port", help="Serve figures to Prometheus on 127.0.0.1:PORT."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show results and errors only.")]
Level = Annotated[LogLevel, typer.Option("--log-level", help="What is logged on the terminal.")]


OPTIONS = {
    "data": ("data", "csv"),
    "encoding": ("data", "encoding"),
    "separator": ("data", "separator"),
    "text_column": ("data", "text_column"),
    "label_columns": ("data", "label_columns"),
    "list_column": ("data", "list_column"),
    "class_column": ("data", "class_column"),
    "encoder": ("encoder", "name"),
    "n_trials": ("study", "n_trials"),
    "timeout": ("study", "timeout_s"),
    "study_name": ("study", "name"),
    "seed": ("study", "seed"),
    "n_workers": ("workers", "max"),
    "metrics_port": ("watch", "metrics_port"),
}
"""The section and key of the configuration that each option overrides."""


def overrides(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Lay the given options out as the configuration's sections; what was not given is absent."""
    sections: dict[str, dict[str, Any]] = {}
    for option, (section, key) in OPTIONS.items():
        value = given.get(option)
        if value is None:
            continue
        if option == "data":
            value = tuple(path.absolute() for path in value)
        elif option == "label_columns":
            value = tuple(name.strip() for name in value.split(","))
        sections.setdefault(section, {})[key] = value
    return sections
