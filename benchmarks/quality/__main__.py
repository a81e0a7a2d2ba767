"""Compare the quality of classifiers on the same embeddings and splits: `--data CSV`."""

import tempfile
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from benchmarks.quality import rivals
from benchmarks.quality.measure import compare, measure
from benchmarks.quality.rivals import Problem, Said
from benchmarks.results import publish
from orchestrator.data.prepare import prepare
from orchestrator.data.splits import make_folds
from orchestrator.evaluation.scores import read_scores
from orchestrator.pipeline import run_ensemble, run_search
from orchestrator.runs.run import Run, define_run

DEFAULT = {"source": "best", "kernel": False}
BEST = {"source": "greedy", "kernel": True}
"""The options of `best`, chosen on other seeds than those that are measured."""
FIRST_SEED = 11
console = Console(stderr=True)


def main(
    data: Annotated[Path, typer.Option(help="A labelled CSV.")],
    n_trials: Annotated[int, typer.Option(help="Trials of each search.")] = 20,
    n_seeds: Annotated[int, typer.Option(help="Splits, each with a search of its own.")] = 3,
) -> None:
    """Print and keep one JSON line after each seed; see benchmarks/README.md for its keys."""
    said: dict[str, list[Said]] = {}
    problems, ensembles = [], []
    with tempfile.TemporaryDirectory(prefix="quality-") as folder:
        for seed in range(FIRST_SEED, FIRST_SEED + n_seeds):
            problem, found, ensemble = _let_all_say(data, Path(folder), seed, n_trials)
            problems.append(problem)
            ensembles.append(ensemble)
            for name, one in found.items():
                said.setdefault(name, []).append(one)
                console.print(seed, name, measure(one, problem))
            compared = compare(said["best"], said["article"], problems)
            default = compare(said["default"], said["article"], problems)
            publish(
                f"quality_{data.stem}",
                {name: _by_measure(all_said, problems) for name, all_said in said.items()}
                | compared
                | {"default_against_article": default, "ensembles": ensembles}
                | {"data": data.name, "n_trials": n_trials, "seeds": [p.seed for p in problems]}
                | {"best_options": BEST},
            )


def _let_all_say(
    data: Path, folder: Path, seed: int, n_trials: int
) -> tuple[Problem, dict[str, Said], dict[str, Any]]:
    """Train all contenders on one split; return what they say, and how `best` was made."""
    run = _run(data, folder, seed, n_trials, DEFAULT)
    problem = _problem(run)
    found = {
        "logistic_regression": rivals.logistic_regression(problem),
        "setfit_head": rivals.setfit_head(problem),
        "article": rivals.article(problem, n_trials),
    }
    run_search(run, console)
    found["default"], _ = _ensemble(run, problem)
    found["best"], metrics = _ensemble(_run(data, folder, seed, n_trials, BEST), problem)
    return problem, found, metrics["ensemble"]


def _run(data: Path, folder: Path, seed: int, n_trials: int, ensemble: dict[str, Any]) -> Run:
    options: dict[str, dict[str, Any]] = {
        "data": {"csv": data.absolute()},
        "study": {"seed": seed, "name": f"seed-{seed}", "n_trials": n_trials},
        "ensemble": ensemble,
        "workers": {"pool": "inline"},
    }
    return define_run(None, folder / "run", None, options)


def _problem(run: Run) -> Problem:
    prepared = prepare(run, console)
    split, seed = prepared.split, run.config.study.seed
    known = np.sort(np.concatenate([split.train, split.valid]))
    folds = make_folds(prepared.dataset, prepared.groups, known, run.config.ensemble.n_folds, seed)
    vectors = np.asarray(prepared.vectors)
    return Problem(vectors, prepared.dataset.labels, split, known, folds, seed)


def _ensemble(run: Run, problem: Problem) -> tuple[Said, dict[str, Any]]:
    """Have tagsweep make its ensemble; return what its bundle says, and its metrics."""
    metrics = run_ensemble(run, console).metrics
    scores = read_scores(run.paths.scores)
    if not np.array_equal(scores["test"].rows, problem.split.test):
        raise ValueError("tagsweep must have measured the same test rows, but has not.")
    return Said(scores["out_of_fold"].probabilities, scores["test"].probabilities), metrics


def _by_measure(said: list[Said], problems: list[Problem]) -> dict[str, Any]:
    """Return each measure by seed, and in the mean."""
    measured = [measure(one, problem) for one, problem in zip(said, problems, strict=True)]
    by_seed = {key: [round(one[key], 5) for one in measured] for key in measured[0]}
    return by_seed | {"mean": {key: round(mean(values), 5) for key, values in by_seed.items()}}


if __name__ == "__main__":
    typer.run(main)
