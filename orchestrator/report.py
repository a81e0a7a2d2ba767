"""Write the result of a run for people to read."""

import json
from pathlib import Path
from typing import Any

from orchestrator.run import Run


def write_report(path: Path, run: Run, metrics: dict[str, Any]) -> None:
    """Write a Markdown report of the metrics that `evaluate` and the search gave."""
    text = "\n".join([*_summary(run, metrics), *_per_label(metrics), *_best_trial(metrics)])
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(path)


def headline(metrics: dict[str, Any]) -> str:
    """Return the result in one line, beside logistic regression's."""
    ours, baseline = metrics["test"], metrics["logistic_regression"]
    return (
        f"Weighted average precision on the test split: {ours['ap_weighted']:.4f}"
        f" (logistic regression: {baseline['ap_weighted']:.4f})"
    )


def _summary(run: Run, metrics: dict[str, Any]) -> list[str]:
    rows = [
        ("Ensemble, test split", metrics["test"]),
        ("Logistic regression, test split", metrics["logistic_regression"]),
        ("Ensemble's members, out of fold", metrics["out_of_fold"]),
    ]
    table = [
        f"| {name} | {m['ap_weighted']:.4f} | {m['ap_macro']:.4f} | {m['ap_micro']:.4f} |"
        for name, m in rows
    ]
    return [
        f"# {run.study_name}",
        "",
        f"{headline(metrics)}.",
        "",
        "| average precision | weighted | macro | micro |",
        "|---|---|---|---|",
        *table,
    ]


def _per_label(metrics: dict[str, Any]) -> list[str]:
    baseline = metrics["logistic_regression"]["per_label"]
    rows = [
        f"| {label} | {_figure(value)} | {_figure(baseline[label])} |"
        for label, value in metrics["test"]["per_label"].items()
    ]
    return [
        "",
        "## By label",
        "",
        "| label | ensemble | logistic regression |",
        "|---|---|---|",
        *rows,
    ]


def _best_trial(metrics: dict[str, Any]) -> list[str]:
    search = metrics["search"]
    counts = (
        f"{search['complete']} trials complete, {search['pruned']} pruned,"
        f" {search['failed']} failed in {search['search_s']:.0f} s."
    )
    best = f"Best: trial {search['best_trial']}, validation loss {search['best_value']:.4f}."
    return [
        "",
        "## Search",
        "",
        counts,
        best,
        "",
        "```json",
        json.dumps(search["best_params"], indent=2),
        "```",
    ]


def _figure(value: float | None) -> str:
    return "no positive row" if value is None else f"{value:.4f}"
