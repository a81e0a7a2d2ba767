"""Write the report: the page and its numbers; have its figures written as images."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from optuna.study import Study
from plotly.offline import get_plotlyjs

from orchestrator.bundle.manifest import read_manifest, read_metrics
from orchestrator.data.stored import read_texts
from orchestrator.evaluation.headline import FIGURES
from orchestrator.evaluation.scores import read_scores
from orchestrator.report.drawings import INK, Drawing, draw_outcome, draw_search
from orchestrator.report.facts import Facts, gather
from orchestrator.report.images import write_images
from orchestrator.report.outcome import tell_outcome
from orchestrator.report.panels import MARGINS_PX, PANEL_PX
from orchestrator.runs.run import Run
from orchestrator.terminal.words import say_value
from shared.files import writing
from shared.study.attributes import FINGERPRINT
from shared.study.study import progress_of


def write_report(run: Run, study: Study, *, show_texts: bool = False) -> None:
    """Write page, numbers and images of a run as it is now, each file atomically.

    Before there is an ensemble, the page has no result and says so. Texts are shown only if asked
    for: they may be confidential.
    """
    folder = run.paths.report.parent
    folder.mkdir(parents=True, exist_ok=True)
    trials = study.get_trials(deepcopy=False)
    drawings = draw_search(trials, run.config.study.n_trials, run.config.study.objective)
    outcome, metrics, versions = None, {}, {}
    if run.paths.bundle.exists() and run.paths.scores.exists():
        metrics, manifest = read_metrics(run.paths.bundle), read_manifest(run.paths.bundle)
        scores, names = read_scores(run.paths.scores), manifest.label_names
        texts = read_texts(run.store, study.user_attrs[FINGERPRINT]) if show_texts else None
        finished = metrics["search"]["complete"] + metrics["search"]["pruned"]
        n_later = progress_of(study).finished - finished
        outcome = tell_outcome(scores, metrics, names, manifest.thresholds, texts, n_later)
        drawings |= draw_outcome(scores, metrics, names, manifest.task)
        versions = manifest.versions
    facts = gather(run, study, outcome, metrics, versions)
    _write(run.paths.report_numbers, json.dumps(asdict(facts), indent=2))
    _write(run.paths.report, render(facts, drawings))
    write_images(folder, drawings)


def render(facts: Facts, drawings: Mapping[str, Drawing]) -> str:
    """Return the page; what comes from the run is escaped, wherever it stands."""
    environment = Environment(
        loader=PackageLoader("orchestrator.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": _plain_figure,
        "duration": _duration,
        "moment": _moment,
        "value": say_value,
    }
    return environment.get_template("template.html").render(
        facts=facts,
        drawings=drawings,
        figures=FIGURES,
        plotly_js=get_plotlyjs(),
        panel_px=PANEL_PX,
        margins_px=MARGINS_PX,
        config=yaml.safe_dump(facts.reproduction.config, sort_keys=False),
    )


def _plain_figure(drawing: Drawing) -> dict[str, Any]:
    """Return a figure's data and layout as plain values; the page has headings of its own."""
    values: dict[str, Any] = json.loads(drawing.figure.to_json())
    values["layout"] |= {"title": None, "font": {"color": INK}}
    values["layout"].setdefault("margin", {})["t"] = 30
    return values


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not recorded"
    for unit_s, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds:.1f} s"


def _moment(iso: str) -> str:
    """Say a time in UTC; where scripts run, the page says it as its reader is used to."""
    return f"{datetime.fromisoformat(iso):%-d %B %Y, %H:%M} UTC"


def _write(path: Path, text: str) -> None:
    with writing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
