"""Say what a run is: its directory, its configuration and its storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from glob import has_magic
from pathlib import Path
from typing import Any

from optuna.study import Study

from orchestrator.data.files import files_at
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.secrets import read_secret
from shared.config.sweep import SweepConfig, dump_config, load_config, with_values
from shared.errors import InputError
from shared.files import writing
from shared.store import Store
from shared.study.attributes import SEARCH_S, STORE
from shared.study.budget import is_out_of_time, is_spent
from shared.study.study import limits_of, read_attrs, read_config
from shared.study.tables.read import id_of
from shared.study.tables.storage import PORTS, opened_storage, parse_url
from shared.study.tables.study_storage import StudyStorage

WORKER_STORAGE = "TAGSWEEP_WORKER_STORAGE"
"""The environment variable with the URL of a PgBouncer that workers share connections through."""


@dataclass(frozen=True)
class Run:
    """Hold one run.

    `storage_url` is None where the database is the embedded one, `ray_address` where the workers
    run on this machine; `has_dashboard` asks for optuna-dashboard beside the search.
    """

    paths: RunPaths
    config: SweepConfig
    storage_url: str | None = field(default=None, repr=False)
    ray_address: str | None = None
    has_dashboard: bool = False

    @property
    def study_name(self) -> str:
        """The study's name: the configured one, or the name of the run directory."""
        return self.config.study.name or self.paths.root.resolve().name

    @property
    def shared_store(self) -> Store | None:
        """The configured store, which other machines reach too, if there is one."""
        url = self.config.workers.store
        return None if url is None else Store(url)

    @property
    def store(self) -> Store:
        """Where what other machines need is: the configured store, or a folder of our own."""
        return self.shared_store or Store(str(self.paths.store.absolute()))


def define_run(
    config_file: Path | None,
    run_dir: Path | None,
    storage_url: str | None,
    options: dict[str, dict[str, Any]],
    ray_address: str | None = None,
    *,
    has_dashboard: bool = False,
) -> Run:
    """Put a run together from what the user gave; options override the file.

    Without a file the configuration is the one that the run directory keeps, or else the one that
    the study keeps, or else the defaults.
    """
    if config_file is not None:
        config = load_config(config_file)
    elif run_dir is not None and RunPaths(run_dir).config.exists():
        config = load_config(RunPaths(run_dir).config)
    else:
        config = _config_of_study(storage_url, options) or SweepConfig()
    config = with_values(config, options)
    paths = RunPaths(run_dir or Path("runs") / _default_name(config))
    config = _named(config, paths)
    _require_address(ray_address)
    return Run(paths, config, _checked(storage_url), ray_address, has_dashboard)


def load_run(
    run_dir: Path,
    storage_url: str | None,
    options: dict[str, dict[str, Any]],
    ray_address: str | None = None,
    *,
    has_dashboard: bool = False,
) -> Run:
    """Find an existing run; raise InputError when the directory holds none."""
    paths = RunPaths(run_dir)
    if not paths.config.exists():
        if paths.events.exists():
            raise InputError(
                f"{run_dir} has no study yet: its texts are being embedded, or were when it"
                f" stopped; {paths.log} has more. `tagsweep run` with the same options goes on."
            )
        raise InputError(
            f"{run_dir} is not a run directory: it has no {paths.config.name}."
            " Start one with `tagsweep run --data CSV --run-dir DIR`."
        )
    config = _named(with_values(load_config(paths.config), options), paths)
    _require_address(ray_address)
    return Run(paths, config, _checked(storage_url), ray_address, has_dashboard)


def _named(config: SweepConfig, paths: RunPaths) -> SweepConfig:
    """Give a study without a name the one that it began with, or that of its directory.

    Where a directory has begun its study, the name stays, however it is called or copied to later.
    """
    if config.study.name is not None:
        return config
    kept = load_config(paths.config).study.name if paths.config.exists() else None
    return with_values(config, {"study": {"name": kept or paths.root.resolve().name}})


def _require_address(ray_address: str | None) -> None:
    """Refuse what Ray would not take for a cluster, before anything is embedded."""
    if ray_address is None or ray_address == "auto":
        return
    host, _, port = ray_address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or int(port) not in PORTS:
        raise InputError(
            "The address of a Ray cluster (--ray-address, RAY_ADDRESS) must be auto, HOST:PORT or"
            f" ray://HOST:PORT, with a port from {PORTS[0]} to {PORTS[-1]}, but is {ray_address!r}."
        )


def _checked(storage_url: str | None) -> str | None:
    """Refuse a storage before hours have gone into embedding."""
    if storage_url is not None:
        parse_url(storage_url)
    return storage_url


def storage_of_workers(driver_url: str) -> str:
    """Return where workers connect: to a pooler, if the environment names one, or as the driver."""
    url = read_secret(WORKER_STORAGE) or driver_url
    parse_url(url)
    return url


def require_reach(run: Run) -> None:
    """Raise InputError when workers could not reach the study, or on a cluster its files."""
    if url := read_secret(WORKER_STORAGE):
        parse_url(url)
    if run.ray_address is None:
        return
    if run.storage_url is None:
        raise InputError(
            "Workers on a Ray cluster, which --ray-address or RAY_ADDRESS names, need a PostgreSQL"
            " that they can reach. Name it in the environment, as TAGSWEEP_STORAGE or in a file"
            " that TAGSWEEP_STORAGE_FILE names."
        )
    if run.config.workers.store is None:
        raise InputError(
            "Workers on a Ray cluster need a place for checkpoints that they all reach. Set"
            " workers.store to a folder that they share, or to a URL such as s3://bucket/folder."
        )


def keep_config(run: Run) -> None:
    """Write the configuration into the run directory, so that the directory alone can resume."""
    with writing(run.paths.config) as unfinished:
        unfinished.write_text(dump_config(run.config), encoding="utf-8")


@contextmanager
def database_of(run: Run) -> Iterator[str]:
    """Yield the URL of the run's storage, starting the embedded PostgreSQL if it is that."""
    if run.storage_url is not None:
        yield run.storage_url
        return
    from orchestrator.runs.database import embedded_postgres

    with embedded_postgres(run.paths.database) as url:
        yield url


def is_searched(run: Run, study: Study, storage: StudyStorage) -> bool:
    """Say whether the trials or the time that the run asks for are spent, or its target is met."""
    limits = limits_of(run.config)
    searched_s = study.user_attrs[SEARCH_S]
    return is_out_of_time(searched_s, limits.timeout_s) or is_spent(
        storage, id_of(study), limits=limits
    )


def _config_of_study(
    storage_url: str | None, options: dict[str, dict[str, Any]]
) -> SweepConfig | None:
    """Return what the study says; where its files are not at hand, its store takes their place."""
    name = options.get("study", {}).get("name")
    if storage_url is None or name is None:
        return None
    with opened_storage(storage_url) as storage:
        config, attrs = read_config(storage, name), read_attrs(storage, name)
    if config is None or not attrs or STORE not in attrs:
        return config
    if config.data.csv and all(map(files_at, config.data.csv)):
        return config
    return with_values(config, {"data": {"csv": ()}, "workers": {"store": attrs[STORE]}})


def _default_name(config: SweepConfig) -> str:
    if config.study.name is not None:
        return config.study.name
    if not config.data.csv:
        raise InputError("There is nothing to do yet: name a file with --data, or a configuration.")
    first = config.data.csv[0]
    return first.parent.name if has_magic(first.name) else Path(first.name.removesuffix(".gz")).stem
