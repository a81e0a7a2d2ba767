"""Run the stages in order, each from value to value: prepare, search, ensemble."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from uuid import uuid4

from optuna.study import Study
from rich.console import Console

from orchestrator.bundle.location import share_bundle
from orchestrator.bundle.manifest import read_metrics
from orchestrator.conclude import Result, describe_replaced, ensemble, is_bundled
from orchestrator.dashboard.page import show_making, show_search
from orchestrator.dashboard.server import dashboard_beside
from orchestrator.data.prepare import Prepared, prepare
from orchestrator.data.splits import read_split, write_split
from orchestrator.data.stored import keep_data, keep_revisions
from orchestrator.ensemble.candidates import choose
from orchestrator.events.events import Events, read_events, recorded
from orchestrator.events.follower import Follower
from orchestrator.runs.locks import Lock, locked, require_free
from orchestrator.runs.run import (
    Run,
    database_of,
    is_searched,
    keep_config,
    require_reach,
    storage_of_workers,
)
from orchestrator.search.supervise import DRIVER_DIED, Driver, hand_back, supervise
from orchestrator.terminal.console import quiet_keras
from orchestrator.terminal.progress import show_lines, show_progress, show_wait
from shared.config.sweep import load_config
from shared.study.attributes import LABELS, STORE, UUID, VERSIONS
from shared.study.budget import enqueue_first
from shared.study.patience import Patience
from shared.study.space import first_params
from shared.study.study import (
    StudyProgress,
    accept_config,
    accept_outcome,
    limits_of,
    open_study,
    read_progress,
    refusal,
    require_same_settings,
)
from shared.study.tables.read import id_of
from shared.study.tables.storage import opened_storage, require_connections, warn_of_spent_sequences
from shared.study.tables.study_storage import StudyStorage
from workers import SearchArrays, WorkerPool, WorkerSpec, launch_workers

logger = logging.getLogger(__name__)


def keep(run: Run, prepared: Prepared) -> None:
    """Write configuration, split and encoders' revisions into the run directory, to resume from.

    Not before a lock of the study is had: what it refuses must not take the place of what it has.
    """
    keep_config(run)
    write_split(run.paths.split, prepared.split)
    keep_revisions(run.paths.encoders, prepared.encoders)


@dataclass(frozen=True)
class OpenStudy:
    """A study that is about the prepared data, its storage, and who writes what it does."""

    study: Study
    storage: StudyStorage
    follower: Follower

    @property
    def id(self) -> int:
        """The study's id in the storage."""
        return id_of(self.study)


@contextmanager
def open_study_of(
    run: Run, prepared: Prepared, console: Console, events: Events
) -> Iterator[OpenStudy]:
    """Open or create the run's study for as long as the block lasts.

    One that is there is not changed: only who holds one of its locks may.
    """
    with _storage_of(run, console) as (url, storage), dashboard_beside(run, url, console):
        study = open_study(
            storage, run.study_name, run.config, prepared.fingerprint, prepared.parts
        )
        follower = Follower(events, study, storage)
        storage.patience = Patience(on_outage=follower.on_outage)
        warn_of_spent_sequences(storage)
        follower.follow_trials()
        yield OpenStudy(study, storage, follower)


@contextmanager
def _storage_of(run: Run, console: Console) -> Iterator[tuple[str, StudyStorage]]:
    what = "Starting the database" if run.storage_url is None else "Connecting to the database"
    with ExitStack() as opened:
        with show_wait(console, what):
            url = opened.enter_context(database_of(run))
            storage = opened.enter_context(opened_storage(url))
        yield url, storage


@contextmanager
def driving(run: Run, prepared: Prepared, opened: OpenStudy) -> Iterator[Driver]:
    """Be the one that drives the study's search, by the run's configuration, while the block lasts.

    Raises LockedError where another does, and has changed nothing then.
    """
    with locked(opened.storage, run.study_name, Lock.SEARCH) as hold:
        accept_config(opened.study, opened.storage, run.config)
        keep(run, prepared)
        yield Driver(uuid4().hex, hold)


def search(
    run: Run,
    prepared: Prepared,
    opened: OpenStudy,
    driver: Driver,
    pool: WorkerPool,
    console: Console,
) -> None:
    """Let workers pull trials until the budget is spent."""
    config, study, storage = run.config, opened.study, opened.storage
    spec = WorkerSpec(
        storage_url=storage_of_workers(storage.url),
        study_name=run.study_name,
        fingerprint=prepared.fingerprint,
        label_names=prepared.dataset.label_names,
        config=config,
        store=run.store,
        study_uuid=study.user_attrs[UUID],
        driver_id=driver.id,
    )
    arrays = SearchArrays(
        vectors=prepared.vectors,
        labels=prepared.dataset.labels,
        folds=prepared.folds,
        widths=tuple(prepared.widths.values()),
    )
    max_retries = config.workers.max_retries
    hand_back(storage, opened.id, lambda owner: owner.driver is not None, DRIVER_DIED, max_retries)
    keep_data(spec.store, spec.fingerprint, prepared.dataset.texts, arrays)
    study.set_user_attr(STORE, spec.store.url)
    study.set_user_attr(LABELS, list(spec.label_names))
    study.set_user_attr(VERSIONS, dict(spec.versions))
    if config.study.is_multi_objective:
        logger.info("No trial is pruned: Optuna prunes by a single objective only")
    with show_wait(console, _start_of(run)):
        if spec.storage_url == storage.url:
            require_connections(storage, pool.size())
        enqueue_first(storage, opened.id, first_params(config.space, prepared.widths))
        pool.start(spec, arrays)
    with (
        show_progress(console, "Search", config.study.n_trials) as update,
        show_search(run, prepared, study, update) as update_and_draw,
    ):
        supervise(
            study,
            storage,
            pool,
            limits_of(config),
            max_retries,
            driver,
            update_and_draw,
            opened.follower,
        )


def _start_of(run: Run) -> str:
    if run.ray_address is not None:
        return f"Connecting to the Ray cluster at {run.ray_address}"
    return "Starting Ray" if run.config.workers.pool == "ray" else "Starting the worker"


@contextmanager
def _workers_of(run: Run, console: Console) -> Iterator[WorkerPool]:
    if run.config.workers.pool == "inline":  # else other processes import it
        with show_wait(console, "Importing what training needs"):
            quiet_keras()
    with launch_workers(run.config.workers, run.ray_address) as pool:
        yield pool


@recorded
def run_all(run: Run, console: Console, events: Events) -> Result:
    """Run every stage that is not finished yet."""
    require_reach(run)
    with events.stage("embed"):
        prepared = prepare(run, console)
    with open_study_of(run, prepared, console, events) as opened:
        searched = is_searched(run, opened.study, opened.storage)
        if searched and is_bundled(run, opened.study):
            share_bundle(run)  # with a store that was named since
            return Result(read_metrics(run.paths.bundle), is_new=False)
        require_free(opened.storage, run.study_name, Lock.ENSEMBLE)  # before a search goes into it
        with driving(run, prepared, opened) as driver:
            if not searched:
                with (
                    events.stage("search"),
                    _workers_of(run, console) as pool,
                ):
                    search(run, prepared, opened, driver, pool, console)
        return _make_result(run, prepared, opened, console, events)


@recorded
def run_prepare(run: Run, console: Console, events: Events) -> None:
    """Embed and split, and keep what a search can start from.

    Raises InputError where a search has started from something else.
    """
    has_begun = _has_begun(run)
    if has_begun:
        require_same_settings(run.study_name, load_config(run.paths.config), run.config)
    with events.stage("embed"):
        prepared = prepare(run, console)
    if has_begun and read_split(run.paths.split).fingerprint != prepared.split.fingerprint:
        raise refusal(run.study_name, ["the data changed"])
    keep(run, prepared)


def _has_begun(run: Run) -> bool:
    """Say whether this directory's study has been searched, without its database."""
    starts = (one for one in read_events(run.paths.events) if one["event"] == "stage_started")
    return any(one["stage"] == "search" for one in starts)


@recorded
def run_search(run: Run, console: Console, events: Events) -> StudyProgress:
    """Prepare what is not prepared, and search while there is budget."""
    require_reach(run)
    with events.stage("embed"):
        prepared = prepare(run, console)
    # Workers start while the study is opened, not before: encoders had their CPUs and GPUs.
    with (
        _workers_of(run, console) as pool,
        open_study_of(run, prepared, console, events) as opened,
    ):
        with driving(run, prepared, opened) as driver:
            if not is_searched(run, opened.study, opened.storage):
                with events.stage("search"):
                    search(run, prepared, opened, driver, pool, console)
        return read_progress(opened.study)


@recorded
def run_ensemble(run: Run, console: Console, events: Events, trial: int | None = None) -> Result:
    """Make the ensemble of the best so far, or of a trial, whether or not the search is finished.

    Whoever resumes keeps to the trial, until this is called without one.
    """
    with events.stage("embed"):
        prepared = prepare(run, console)
    with open_study_of(run, prepared, console, events) as opened:
        choose(opened.study, trial)
        if is_bundled(run, opened.study):
            return Result(read_metrics(run.paths.bundle), is_new=False)
        return _make_result(run, prepared, opened, console, events)


def _make_result(
    run: Run, prepared: Prepared, opened: OpenStudy, console: Console, events: Events
) -> Result:
    with (
        locked(opened.storage, run.study_name, Lock.ENSEMBLE) as hold,
        events.stage("ensemble"),
    ):
        accept_outcome(opened.study, opened.storage, run.config)
        keep(run, prepared)
        show_making(run, prepared, opened.study)
        show_lines(console, describe_replaced(run, opened.study))
        return Result(ensemble(run, prepared, opened.study, console, events, hold), is_new=True)
