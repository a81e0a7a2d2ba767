"""Make the result of a searched study: ensemble, figures, bundle, report."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial
from rich.console import Console

from orchestrator.bundle.bundle import write_bundle
from orchestrator.bundle.location import share_bundle
from orchestrator.bundle.manifest import read_metrics
from orchestrator.bundle.reference import take_reference
from orchestrator.dashboard.page import show_result
from orchestrator.data.duplicates import first_rows, hash_texts
from orchestrator.data.prepare import Prepared
from orchestrator.decisions.decide import decide
from orchestrator.decisions.describe import describe_decisions
from orchestrator.ensemble.candidates import best_trials, candidates_of, ensemble_key, is_alone
from orchestrator.ensemble.progress import EnsembleReporter, Work
from orchestrator.evaluation.bootstrap import compare, intervals
from orchestrator.evaluation.headline import figure_of
from orchestrator.evaluation.scores import write_scores
from orchestrator.events.events import Events
from orchestrator.runs.run import Run
from orchestrator.terminal.console import quiet_keras
from orchestrator.terminal.progress import show_lines
from shared.study.attributes import SEARCH_S
from shared.study.space import default_params
from shared.study.study import progress_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """Hold the metrics of a finished run, and whether anything had to be done for them."""

    metrics: dict[str, Any]
    is_new: bool


def ensemble(
    run: Run,
    prepared: Prepared,
    study: Study,
    console: Console,
    events: Events,
    hold: Callable[[], None],
) -> dict[str, Any]:
    """Train the ensemble, measure it, write bundle and report; return the metrics.

    `hold` makes sure that no other does so meanwhile, and raises where another does.
    """
    quiet_keras()
    from orchestrator.bundle.predict import predict_vectors
    from orchestrator.decisions.layers import calibrated
    from orchestrator.ensemble.assemble import assemble, describe_ensemble
    from orchestrator.ensemble.baselines import tune
    from orchestrator.ensemble.scoring import evaluate, score

    started = time.monotonic()
    config, dataset, split = run.config, prepared.dataset, prepared.split
    names, seed = dataset.label_names, config.study.seed
    known_rows = np.sort(np.concatenate([split.train, split.valid]))
    trials = best_trials(run, study)
    search = _search_facts(run, study, trials)  # what ends while members train is not in it
    candidates = candidates_of(run, study, trials, prepared.widths, dataset.task)
    has_kernel = config.ensemble.kernel and not is_alone(study)
    reporter = EnsembleReporter(study, trials, config.ensemble.n_folds)
    assembled = assemble(run, prepared, candidates, has_kernel, console, events, hold, reporter)
    reporter.begin(Work.RESULT)
    show_lines(console, ["Measuring the ensemble, and writing bundle and report"])
    trained = assembled.ensemble
    read = prepared.only(trained.encoders)
    vectors = read.vectors
    known, out_of_fold = dataset.labels[known_rows], trained.out_of_fold[known_rows]
    folds = [np.searchsorted(known_rows, held_out) for _, held_out in assembled.folds]
    decisions = decide(known, out_of_fold, folds, config.decisions, dataset.task)
    for name, one in zip(names, decisions.labels, strict=True):
        if one.note is not None:
            logger.warning("Label %r: %s", name, one.note)
    model = calibrated(trained.model, decisions.curves, dataset.task)
    figure = figure_of(config.study.objective[0], dataset.task)
    regularisation = tune(vectors, dataset.labels, assembled.folds, dataset.task, figure)
    scores = score(
        replace(trained, model=model),
        vectors,
        dataset.labels,
        split,
        default_params(read.widths, dataset.task),
        config.training,
        regularisation,
        seed,
    )
    compared = {name: scores[name] for name in ("test", "logistic_regression", "default_head")}
    uncalibrated = predict_vectors(trained.model.predict_on_batch, vectors[split.test])
    scores["uncalibrated"] = replace(scores["test"], probabilities=uncalibrated)
    metrics = evaluate(scores, names, dataset.task) | {
        "comparison": asdict(compare(compared, figure, seed)),
        "regularisation": asdict(regularisation) | {"description": regularisation.description},
        "intervals": intervals(scores["test"], names, seed, dataset.task),
        "decisions": describe_decisions(decisions, config.decisions, scores, names, dataset.task),
        "ensemble": describe_ensemble(run, prepared, candidates, assembled, figure),
        "data": _data_facts(run, read),
        "search": search,
        "ensemble_s": round(time.monotonic() - started, 1),
    }
    hold()
    run.paths.unfinished.touch()
    write_bundle(
        run.paths.bundle,
        model=model,
        text_column=config.data.text_column,
        label_names=names,
        class_column=dataset.class_column,
        list_column=config.data.list_column,
        thresholds=decisions.thresholds,
        encoders=list(read.encoders.values()),
        params=asdict(candidates[0].params),
        metrics=metrics,
        reference=take_reference(
            vectors,
            dataset.labels,
            first_rows(prepared.groups, known_rows),
            hash_texts(dataset.texts[row] for row in known_rows),
            seed,
        ),
    )
    write_scores(run.paths.scores, scores)
    bundle = share_bundle(run)
    _report(run, study)
    show_result(run, prepared, study, metrics, scores, bundle)
    figures = {name: metrics[name]["ap_weighted"] for name in ("test", "logistic_regression")}
    made_of = {name: search[name] for name in ("best_trial", "trial")}
    events.write("bundle_written", **made_of, **figures)
    run.paths.unfinished.unlink()
    return metrics


def _report(run: Run, study: Study) -> None:
    """Write the report; what goes wrong with it must not lose the result, which is there."""
    from orchestrator.report.page import write_report

    try:
        write_report(run, study)
    except Exception:
        logger.exception("The report was not written; try `tagsweep report %s`", run.paths.root)


def describe_replaced(run: Run, study: Study) -> list[str]:
    """Say in a line which trial's bundle is to be replaced by another trial's, if one is."""
    if not run.paths.bundle.exists():
        return []
    old = read_metrics(run.paths.bundle)["search"].get("trial")
    new = best_trials(run, study)[0].number
    if old in {new, None}:
        return []
    return [f"Bundle and report of trial {old} are replaced; its trained members are kept."]


def is_bundled(run: Run, study: Study) -> bool:
    """Say whether the result is that of the study, and of the decisions asked for, as of now.

    Not one whose making was interrupted: its report may be an older bundle's.
    """
    if run.paths.unfinished.exists() or not run.paths.bundle.exists():
        return False
    metrics, trials = read_metrics(run.paths.bundle), best_trials(run, study)
    if "comparison" not in metrics:  # schema 4 had none
        return False
    search, decided = metrics["search"], metrics["decisions"]
    finished = search["complete"] + search["pruned"]
    return (search["key"], search.get("trial"), finished, decided["asked"]) == (
        ensemble_key(run, study, trials),
        trials[0].number,
        progress_of(study).finished,
        run.config.decisions.model_dump(mode="json"),
    )


def _data_facts(run: Run, prepared: Prepared) -> dict[str, Any]:
    dataset, split = prepared.dataset, prepared.split
    positives = dataset.labels.sum(axis=0).astype(int).tolist()
    return {
        "source": run.config.data.file_names or run.study_name,
        "n_rows": len(dataset.texts),
        "n_known": len(split.train) + len(split.valid),
        "n_test": len(split.test),
        "positives": dict(zip(dataset.label_names, positives, strict=True)),
        "encoders": {
            name: {"max_seq_length": one.max_seq_length, "n_truncated": one.n_truncated}
            for name, one in prepared.embeddings.items()
        },
    }


def _search_facts(run: Run, study: Study, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Say how the search went; `trial` and `params` are what the ensemble is made of first."""
    progress, first = progress_of(study), trials[0]
    best = progress.best or first
    return {
        "study": run.study_name,
        "key": ensemble_key(run, study, trials),
        "complete": progress.complete,
        "pruned": progress.pruned,
        "failed": progress.failed,
        "search_s": study.user_attrs[SEARCH_S],
        "best_trial": best.number,
        "best_value": best.values[0],
        "trial": first.number,
        "values": dict(zip(run.config.study.objective, first.values, strict=True)),
        "params": first.params,
    }
