"""Make the result of a searched study: ensemble, figures, bundle, report."""

import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial
from rich.console import Console

from orchestrator.bootstrap import intervals
from orchestrator.decisions import describe_decisions
from orchestrator.events import Events
from orchestrator.prepare import Prepared, hash_of
from orchestrator.progress import show_progress
from orchestrator.run import Run
from orchestrator.scores import write_scores
from orchestrator.sharing import share_bundle
from orchestrator.study_page import show_result
from orchestrator.terminal import quiet_keras
from shared.bundle import read_metrics, write_bundle
from shared.data.splits import make_folds
from shared.decisions.decide import decide
from shared.errors import TagsweepError
from shared.reference import take_reference
from shared.search.space import default_params, params_of
from shared.search.study import FINGERPRINT, SEARCH_S, read_progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """Hold the metrics of a finished run, and whether anything had to be done for them."""

    metrics: dict[str, Any]
    is_new: bool


def ensemble(
    run: Run, prepared: Prepared, study: Study, console: Console, events: Events
) -> dict[str, Any]:
    """Train the ensemble of the best trial, measure it, write bundle and report; return metrics."""
    quiet_keras()
    from orchestrator.ensemble import train_ensemble
    from orchestrator.evaluate import evaluate, score
    from orchestrator.predict import predict_vectors
    from shared.training.calibrated import calibrated

    started = time.monotonic()
    config, dataset, split = run.config, prepared.dataset, prepared.split
    vectors = prepared.embeddings.vectors
    key = ensemble_key(run, study)
    params = params_of(best_trial(study), config.space, vectors.shape[1], dataset.task)
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
            key,
            lambda fold, step, value: update(fold, f"epoch {step}, validation loss {value:.4f}"),
            lambda fold, epochs: events.write("fold_done", fold=fold, epochs=epochs),
        )
        update(len(folds), "")
    known, out_of_fold = dataset.labels[known_rows], trained.out_of_fold[known_rows]
    decisions = decide(known, out_of_fold, config.decisions, dataset.task, config.study.seed)
    for name, one in zip(dataset.label_names, decisions.labels, strict=True):
        if one.note is not None:
            logger.warning("Label %r: %s", name, one.note)
    model = calibrated(trained.model, decisions.curves)
    scores = score(
        replace(trained, model=model),
        vectors,
        dataset.labels,
        split,
        default_params(vectors.shape[1], dataset.task),
        config.training,
        config.study.seed,
    )
    uncalibrated = predict_vectors(trained.model.predict_on_batch, vectors[split.test])
    scores["uncalibrated"] = replace(scores["test"], probabilities=uncalibrated)
    write_scores(run.paths.scores, scores)
    metrics = evaluate(scores, dataset.label_names)
    metrics["intervals"] = intervals(scores["test"], dataset.label_names, config.study.seed)
    metrics["decisions"] = describe_decisions(
        decisions, config.decisions, scores, dataset.label_names
    )
    metrics["data"] = _data_facts(run, prepared)
    metrics["search"] = _search_facts(run, study, key)
    metrics["ensemble_s"] = round(time.monotonic() - started, 1)
    write_bundle(
        run.paths.bundle,
        model=model,
        label_names=dataset.label_names,
        thresholds=decisions.thresholds,
        encoder=prepared.encoder,
        params=asdict(params),
        metrics=metrics,
        reference=take_reference(vectors, dataset.labels, known_rows, config.study.seed),
    )
    bundle = share_bundle(run)
    _report(run, study)
    show_result(run, prepared, study, metrics, scores, bundle)
    figures = {name: metrics[name]["ap_weighted"] for name in ("test", "logistic_regression")}
    events.write("bundle_written", best_trial=metrics["search"]["best_trial"], **figures)
    return metrics


def _report(run: Run, study: Study) -> None:
    """Write the report; what goes wrong with it must not lose the result, which is there."""
    from orchestrator.report.page import write_report

    try:
        write_report(run, study)
    except Exception:
        logger.exception("The report was not written; try `tagsweep report %s`", run.paths.root)


def headline(metrics: dict[str, Any]) -> str:
    """Return the result in one line, beside logistic regression's."""
    ours, baseline = metrics["test"], metrics["logistic_regression"]
    return (
        f"Weighted average precision on the test split: {ours['ap_weighted']:.4f}"
        f" (logistic regression: {baseline['ap_weighted']:.4f})"
    )


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
    """Return the hash of all that the members of the best trial's ensemble depend on."""
    config = run.config
    facts = [
        study.user_attrs[FINGERPRINT],
        best_trial(study).params,
        config.model_dump(mode="json", include={"space", "training", "ensemble"}),
        config.study.seed,
    ]
    return hash_of(json.dumps(facts, sort_keys=True))


def is_bundled(run: Run, study: Study) -> bool:
    """Say whether the bundle is that of the study, and of the decisions asked for, as of now."""
    if not run.paths.bundle.exists():
        return False
    metrics = read_metrics(run.paths.bundle)
    search, decided = metrics["search"], metrics.get("decisions", {})  # schema 2 had none
    finished = search["complete"] + search["pruned"]
    return (search["key"], finished, decided.get("asked")) == (
        ensemble_key(run, study),
        read_progress(study).finished,
        run.config.decisions.model_dump(mode="json"),
    )


def _data_facts(run: Run, prepared: Prepared) -> dict[str, Any]:
    dataset, split, csv = prepared.dataset, prepared.split, run.config.data.csv
    positives = dataset.labels.sum(axis=0).astype(int).tolist()
    return {
        "source": csv.name if csv else run.study_name,
        "n_rows": len(dataset.texts),
        "n_known": len(split.train) + len(split.valid),
        "n_test": len(split.test),
        "positives": dict(zip(dataset.label_names, positives, strict=True)),
        "n_truncated": prepared.embeddings.n_truncated,
        "max_seq_length": prepared.embeddings.max_seq_length,
    }


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
