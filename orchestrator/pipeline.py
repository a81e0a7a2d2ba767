"""Run the stages in order, each from value to value: prepare, search, ensemble."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial
from rich.console import Console

from orchestrator.progress import show_progress, with_rate
from orchestrator.report import write_report
from orchestrator.restore import ENCODER, keep_data, restore
from orchestrator.run import (
    Run,
    database_of,
    keep_config,
    require_reach,
    storage_of_workers,
)
from orchestrator.sharing import fetch_embeddings, share_bundle, share_embeddings
from orchestrator.supervise import hand_back, supervise
from orchestrator.terminal import quiet_keras
from shared.bundle import read_metrics, write_bundle
from shared.data.dataset import Dataset, load_dataset, require_rows
from shared.data.embeddings import Embeddings, embed, embeddings_key
from shared.data.encoder import Encoder, resolve_encoder
from shared.data.splits import Split, make_folds, make_split, write_split
from shared.errors import TagsweepError
from shared.search.budget import driving, is_out_of_time, is_spent
from shared.search.bulk_read import id_of
from shared.search.space import first_params, params_of
from shared.search.storage import opened_storage, require_connections
from shared.search.study import (
    FINGERPRINT,
    LABELS,
    SEARCH_S,
    STORE,
    VERSIONS,
    StudyProgress,
    open_study,
    read_progress,
)
from workers import SearchArrays, WorkerPool, WorkerSpec, launch_workers

KEY_CHARACTERS = 16
"""How much of an ensemble's key names its folder."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Hold what the search starts from; the fingerprint covers all of it."""

    dataset: Dataset
    encoder: Encoder
    embeddings: Embeddings
    split: Split

    @property
    def fingerprint(self) -> str:
        """The hash of texts, labels, encoder and split."""
        return _hash(self.embeddings.key + self.split.fingerprint)

    @property
    def parts(self) -> dict[str, str]:
        """The hashes of what the fingerprint covers, causes before consequences."""
        names, labels = self.dataset.label_names, self.dataset.labels
        return {
            "the texts": _hash(json.dumps(self.dataset.texts)),
            "the labels": _hash(json.dumps([names, labels.tolist()])),
            ENCODER: self.encoder.revision,
            "the split": self.split.fingerprint,
        }


def prepare(run: Run, console: Console) -> Prepared:
    """Read the CSV, embed its texts and split its rows; what is there already is taken as it is.

    Where there is no CSV, a study that has been searched gives the data from its store.
    """
    restored = restore(run) if run.config.data.csv is None else None
    dataset, encoder, embeddings = restored or _read_and_embed(run, console)
    require_rows(dataset, run.config.ensemble.n_folds)
    split = make_split(dataset, run.config.data, run.config.study.seed)
    return Prepared(dataset, encoder, embeddings, split)


def _read_and_embed(run: Run, console: Console) -> tuple[Dataset, Encoder, Embeddings]:
    dataset = load_dataset(run.config.data)
    require_rows(dataset, run.config.ensemble.n_folds)
    encoder = resolve_encoder(run.config.encoder)
    n_distinct = len(set(dataset.texts))
    key = embeddings_key(dataset.texts, encoder)
    fetch_embeddings(run, key)
    with show_progress(console, "Embedding", n_distinct) as update:
        embeddings = embed(dataset.texts, encoder, run.paths.embeddings, with_rate(update, "texts"))
        update(n_distinct, "")
    share_embeddings(run, key)
    if embeddings.n_truncated:
        console.print(
            f"{embeddings.n_truncated} of {n_distinct} texts are longer than the encoder's"
            f" {embeddings.max_seq_length} tokens; what is beyond does not count."
        )
    return dataset, encoder, embeddings


def keep(run: Run, prepared: Prepared) -> None:
    """Write configuration and split into the run directory, so that it can resume by itself.

    Not before the study has accepted them: what it refuses must not take the place of what it has.
    """
    keep_config(run)
    write_split(run.paths.split, prepared.split)


@dataclass(frozen=True)
class OpenStudy:
    """Hold a study that is about the prepared data, and its storage."""

    study: Study
    storage: RDBStorage


@contextmanager
def open_study_of(run: Run, prepared: Prepared) -> Iterator[OpenStudy]:
    """Open or create the run's study for as long as the block lasts."""
    with database_of(run) as url, opened_storage(url) as storage:
        study = open_study(
            storage, run.study_name, run.config, prepared.fingerprint, prepared.parts
        )
        keep(run, prepared)
        yield OpenStudy(study, storage)


def is_searched(run: Run, study: Study, storage: RDBStorage) -> bool:
    """Say whether the budget of trials or of time is spent, or the target reached."""
    limits = run.config.study
    searched_s = study.user_attrs[SEARCH_S]
    return is_out_of_time(searched_s, limits) or is_spent(storage, id_of(study), limits)


def search(
    run: Run, prepared: Prepared, opened: OpenStudy, pool: WorkerPool, console: Console
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
    )
    arrays = SearchArrays(
        vectors=prepared.embeddings.vectors,
        labels=prepared.dataset.labels,
        train_rows=prepared.split.train,
        valid_rows=prepared.split.valid,
    )
    with (
        driving(storage, run.study_name) as hold,
        show_progress(console, "Search", config.study.n_trials) as update,
    ):
        max_retries = config.workers.max_retries
        hand_back(study, storage, "lost: its driver died", max_retries=max_retries)
        keep_data(spec.store, spec.fingerprint, prepared.dataset.texts, arrays)
        study.set_user_attr(STORE, spec.store)
        study.set_user_attr(LABELS, list(spec.label_names))
        study.set_user_attr(VERSIONS, dict(spec.versions))
        if spec.storage_url == storage.url:
            require_connections(storage, config.workers.max or os.cpu_count() or 1)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(first_params(config.space, arrays.vectors.shape[1]))
        pool.start(spec, arrays)
        supervise(study, storage, pool, config.study, max_retries, hold, update)


def ensemble(run: Run, prepared: Prepared, study: Study, console: Console) -> dict[str, Any]:
    """Train the ensemble of the best trial, measure it, write report and bundle; return metrics."""
    quiet_keras()
    from orchestrator.ensemble import train_ensemble
    from orchestrator.evaluate import evaluate

    config, dataset, split = run.config, prepared.dataset, prepared.split
    vectors = prepared.embeddings.vectors
    key = ensemble_key(run, study)
    params = params_of(best_trial(study), config.space, vectors.shape[1])
    known_rows = np.sort(np.concatenate([split.train, split.valid]))
    folds = make_folds(dataset, known_rows, config.ensemble.n_folds, config.study.seed)
    with show_progress(console, "Ensemble", len(folds)) as update:
        trained = train_ensemble(
            params,
            vectors,
            dataset.labels,
            folds,
            config.training,
            config.study.seed,
            run.store,
            key[:KEY_CHARACTERS],
            lambda fold, step, value: update(fold, f"epoch {step}, validation loss {value:.4f}"),
        )
        update(len(folds), "")
    metrics = evaluate(trained, vectors, dataset.labels, split, dataset.label_names)
    metrics["search"] = _search_facts(run, study, key)
    write_bundle(
        run.paths.bundle,
        members=trained.members,
        label_names=dataset.label_names,
        thresholds=(0.5,) * len(dataset.label_names),
        encoder=prepared.encoder,
        params=asdict(params),
        metrics=metrics,
    )
    write_report(run.paths.report, run, metrics)
    share_bundle(run)
    return metrics


@dataclass(frozen=True)
class Result:
    """Hold the metrics of a finished run, and whether anything had to be done for them."""

    metrics: dict[str, Any]
    is_new: bool


def run_all(run: Run, console: Console) -> Result:
    """Run every stage that is not finished yet."""
    require_reach(run)
    prepared = prepare(run, console)
    with open_study_of(run, prepared) as opened:
        searched = is_searched(run, opened.study, opened.storage)
        if searched and is_bundled(run, opened.study):
            share_bundle(run)  # a run that died right before it did
            return Result(read_metrics(run.paths.bundle), is_new=False)
        if not searched:
            with launch_workers(run.config.workers, run.ray_address) as pool:
                search(run, prepared, opened, pool, console)
        return Result(ensemble(run, prepared, opened.study, console), is_new=True)


def run_prepare(run: Run, console: Console) -> None:
    """Embed and split, and keep what a search can start from."""
    keep(run, prepare(run, console))


def run_search(run: Run, console: Console) -> StudyProgress:
    """Prepare what is not prepared while the workers start, and search."""
    require_reach(run)
    with launch_workers(run.config.workers, run.ray_address) as pool:
        prepared = prepare(run, console)
        with open_study_of(run, prepared) as opened:
            if not is_searched(run, opened.study, opened.storage):
                search(run, prepared, opened, pool, console)
            return read_progress(opened.study)


def run_ensemble(run: Run, console: Console) -> Result:
    """Make the ensemble of the best trial so far, whether or not the search is finished."""
    prepared = prepare(run, console)
    with open_study_of(run, prepared) as opened:
        if is_bundled(run, opened.study):
            return Result(read_metrics(run.paths.bundle), is_new=False)
        return Result(ensemble(run, prepared, opened.study, console), is_new=True)


def best_trial(study: Study) -> FrozenTrial:
    """Return the best complete trial; raise TagsweepError when there is none."""
    best = read_progress(study).best
    if best is None:
        raise TagsweepError(
            "No trial completed, so there is nothing to make an ensemble of."
            " Give the search more trials (--n-trials) or more time (--timeout)."
        )
    return best


def ensemble_key(run: Run, study: Study) -> str:
    """Return the hash of all that the ensemble of the best trial depends on."""
    config = run.config
    facts = [
        study.user_attrs[FINGERPRINT],
        best_trial(study).params,
        config.model_dump(mode="json", include={"space", "training", "ensemble"}),
        config.study.seed,
    ]
    return _hash(json.dumps(facts, sort_keys=True))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def is_bundled(run: Run, study: Study) -> bool:
    """Say whether the bundle is that of the study as it is now."""
    if not run.paths.bundle.exists():
        return False
    search = read_metrics(run.paths.bundle)["search"]
    finished = search["complete"] + search["pruned"]
    return (search["key"], finished) == (ensemble_key(run, study), read_progress(study).finished)


def _search_facts(run: Run, study: Study, key: str) -> dict[str, Any]:
    progress, best = read_progress(study), best_trial(study)
    return {
        "study": run.study_name,
        "key": key,
        "complete": progress.complete,
        "pruned": progress.pruned,
        "failed": progress.failed,
        "search_s": study.user_attrs[SEARCH_S],
        "best_trial": best.number,
        "best_value": best.value,
        "best_params": best.params,
    }
