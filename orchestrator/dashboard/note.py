"""Describe a study in Markdown, for the note that optuna-dashboard shows beside its trials."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.data.prepare import Prepared
from orchestrator.evaluation.headline import headline
from orchestrator.runs.run import Run
from shared.config.sections import EnsembleConfig

FIGURES = {
    "accuracy": "accuracy",
    "average precision (weighted)": "ap_weighted",
    "average precision (macro)": "ap_macro",
}
"""What is told of a result, by its name; labels have no accuracy."""


def describe_search(run: Run, prepared: Prepared, state: str) -> str:
    """Say what is searched, how far it is and how to go on; no text of the data, no password."""
    return "\n\n".join(
        [f"# {run.study_name}", state, _facts(run, prepared), _labels(prepared), _resume(run)]
    )


def describe_result(run: Run, prepared: Prepared, metrics: dict[str, Any], bundle: str) -> str:
    """Say the same of a study that has its result, and where the bundle is."""
    return describe_search(run, prepared, _result(metrics, bundle))


def _facts(run: Run, prepared: Prepared) -> str:
    config, split = run.config, prepared.split
    parts = (("train", split.train), ("valid", split.valid), ("test", split.test))
    counts = ", ".join(f"{len(rows):,} {name}" for name, rows in parts)
    seconds = config.study.timeout_s
    time = "" if seconds is None else f", {seconds:g} s at most"
    source = config.data.file_names or "from the study's store"
    return _table(
        [
            ("data", f"{source}, {len(prepared.dataset.texts):,} rows: {counts}"),
            *(("encoder", f"{name}, {width} d") for name, width in prepared.widths.items()),
            ("split", f"`{split.fingerprint[:16]}`, seed {config.study.seed}"),
            ("objective", f"{', '.join(config.study.objective)}{_on_folds(prepared)}"),
            ("budget", f"{config.study.n_trials:,} trials{time}"),
            ("ensemble", _members(config.ensemble)),
        ],
        ("", ""),
    )


def _members(config: EnsembleConfig) -> str:
    if config.source == "best":
        return f"{config.n_folds} folds of the best trial"
    chosen = "greedily selected" if config.source == "greedy" else "in equal shares"
    return f"{config.n_folds} folds of each of the {config.top_k} best trials, {chosen}"


def _on_folds(prepared: Prepared) -> str:
    n_folds = len(prepared.folds)
    return f", the mean of {n_folds} folds" if n_folds > 1 else ""


def _labels(prepared: Prepared) -> str:
    dataset = prepared.dataset
    counts, shares = dataset.labels.sum(axis=0), dataset.labels.mean(axis=0)
    rows = [
        (name, f"{count:,.0f}", f"{share:.1%}")
        for name, count, share in zip(dataset.label_names, counts, shares, strict=True)
    ]
    one, many = ("label", "Labels") if dataset.task == "multilabel" else ("class", "Classes")
    return f"## {many}\n\n" + _table(rows, (one, "rows", "prevalence"))


def _result(metrics: dict[str, Any], bundle: str) -> str:
    from orchestrator.report.outcome import tell_ways

    place = bundle if "://" in bundle else str(Path(bundle).absolute())
    ours, baseline, search = (metrics[key] for key in ("test", "logistic_regression", "search"))
    shown = {name: key for name, key in FIGURES.items() if key in ours}
    figure = metrics["comparison"]["figure"]
    table = _table(
        [
            ("ensemble", *(_bold(f"{ours[key]:.4f}", key == figure) for key in shown.values())),
            ("logistic regression", *(f"{baseline[key]:.4f}" for key in shown.values())),
        ],
        ("test split", *shown),
    )
    shares = tell_ways(metrics["ensemble"]).shares
    of_teams = ", ".join(f"{name} ({share:.0%})" for name, share in shares.items())
    return (
        f"Done: {search['complete']:,} trials complete, {search['pruned']:,} pruned,"
        f" {search['failed']:,} failed in {search['search_s']:,.0f} s. The best is trial"
        f" {search['best_trial']}; the ensemble has members of {of_teams}.\n\n"
        f"{_listed(headline(metrics))}\n\n{table}"
        f"{_thresholds(metrics)}\n\nThe bundle, which predicts on new text, is"
        f" `{place}`:\n\n```sh\ntagsweep predict {shlex.quote(place)} --text TEXT\n```"
    )


def _bold(text: str, is_bold: bool) -> str:
    return f"**{text}**" if is_bold else text


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _thresholds(metrics: dict[str, Any]) -> str:
    """Say what the labels' thresholds do; classes have none."""
    f1 = metrics["decisions"]["test"].get("f1_macro")
    if f1 is None:
        return ""
    return (
        f"\n\nMacro F1 is {f1['tuned']:.4f} at the labels' own thresholds, {f1['half']:.4f} at 0.5."
    )


def _resume(run: Run) -> str:
    root = shlex.quote(str(run.paths.root.absolute()))
    lines = [f"tagsweep resume {root}", f"tagsweep resume {root} --n-trials N"]
    if run.storage_url is not None:
        name = shlex.quote(run.study_name)
        lines += ["# On another machine, with TAGSWEEP_STORAGE set:"]
        lines += [f"tagsweep run --study-name {name}"]
    return "## Go on\n\n```sh\n" + "\n".join(lines) + "\n```"


def _table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
