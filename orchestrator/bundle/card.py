"""Write the model card of a bundle: what the classifier is, how good, and how to use it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.bundle.card_usage import describe_usage
from orchestrator.bundle.manifest import Manifest
from orchestrator.evaluation.headline import FIGURES as HEADLINES
from orchestrator.evaluation.headline import name_of_baseline, read_comparison
from shared.training.params import Task

TAGS = ["sentence-transformers", "tagsweep"]
TASK_TAGS: dict[Task, str] = {
    "multilabel": "multi-label-classification",
    "multiclass": "multi-class-classification",
}
FIGURES = {
    "ap_weighted": "average precision, weighted",
    "ap_macro": "average precision, macro",
    "ap_micro": "average precision, micro",
    "accuracy": "accuracy",
    "f1_macro": "F1, macro",
}
"""What is told of the test texts, where it was measured; labels have no accuracy."""
METRICS = {"ap": "average_precision", "accuracy": "accuracy", "f1": "f1"}
"""How the hub calls what the figures are averages of."""
TRUENESS = {"ece": "expected calibration error", "brier": "Brier score"}


def model_card(manifest: Manifest, metrics: dict[str, Any]) -> str:
    """Return a model card in Markdown, with the front matter that the Hugging Face hub reads.

    Mitchell et al. 2019, "Model Cards for Model Reporting";
    https://huggingface.co/docs/hub/model-cards.
    """
    sections = [
        _front_matter(manifest, metrics),
        _summary(manifest, metrics),
        _data(metrics["data"]),
        _quality(metrics),
        _classes(manifest, metrics)
        if manifest.thresholds is None
        else _labels(manifest, metrics, manifest.thresholds),
        _decisions(metrics["decisions"]),
        _limits(manifest, metrics),
        describe_usage(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(manifest: Manifest, metrics: dict[str, Any]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    measured = [
        EvalResult(
            task_type="text-classification",
            dataset_type="csv",
            dataset_name=metrics["data"]["source"],
            dataset_split="test",
            metric_type=METRICS[key.partition("_")[0]],
            metric_name=name,
            metric_value=round(metrics["test"][key], 4),
        )
        for key, name in FIGURES.items()
        if key in metrics["test"]
    ]
    data = ModelCardData(
        base_model=_on_the_hub(manifest),
        eval_results=measured,
        library_name="keras",
        license="unknown",
        model_name="tagsweep",
        pipeline_tag="text-classification",
        tags=[TASK_TAGS[manifest.task], *TAGS],
    )
    return f"---\n{data.to_yaml()}\n---"


def _on_the_hub(manifest: Manifest) -> str | list[str] | None:
    """Return the encoders' names on the hub; None where all are folders."""
    names = [one.config.name for one in manifest.encoders if not Path(one.config.name).is_dir()]
    found = [name if "/" in name else f"sentence-transformers/{name}" for name in names]
    return found if len(found) > 1 else next(iter(found), None)


def _summary(manifest: Manifest, metrics: dict[str, Any]) -> str:
    names = ", ".join(map(_inline, manifest.label_names))
    what = (
        "It gives each of these labels a probability, independent of the others"
        if manifest.task == "multilabel"
        else "It tells which of these classes a text has, with probabilities that add up to 1"
    )
    compared = read_comparison(metrics)
    figure, ours = HEADLINES[compared.figure], compared.values["test"]
    encoders = " and ".join(f"`{one.config.full_name}`" for one in manifest.encoders)
    return f"""# A text classifier

{what}: {names}.

An ensemble of Keras heads on the embeddings of {encoders}, tuned by tagsweep on
{manifest.created.date()}. On texts that it had not seen, {figure}: **{ours.value:.4f}**
({_range([ours.low, ours.high])}). The difference to

{_differences(metrics)}"""


def _differences(metrics: dict[str, Any]) -> str:
    """Say by how much it is better than what a sweep has to beat."""
    return "\n".join(
        f"- {name_of_baseline(name, metrics)}: **{one.value:+.4f}**"
        f" ({one.low:+.4f} to {one.high:+.4f})"
        for name, one in read_comparison(metrics).differences.items()
    )


def _data(data: dict[str, Any]) -> str:
    return f"""## Data

`{_inline(data["source"])}`: {data["n_rows"]} labelled texts, of which {data["n_known"]} served to
search and train and {data["n_test"]} to measure. Texts that the encoder does not tell apart stay on
one side, and both sides have each label's share. The data's licence and origin are unknown to
tagsweep: add them here, and in `license` above."""


def _quality(metrics: dict[str, Any]) -> str:
    test, sure = metrics["test"], metrics["intervals"]
    baseline = metrics["logistic_regression"]
    rows = [
        f"| {name} | {test[key]:.4f} | {_range(sure.get(key))} | {baseline[key]:.4f} |"
        for key, name in FIGURES.items()
        if key in test
    ]
    table = "\n".join(rows)
    return f"""## Quality

Measured on the test texts, which took no part in any choice; 95 % bootstrap intervals.

| figure | ensemble | interval | logistic regression |
|---|---|---|---|
{table}"""


def _classes(manifest: Manifest, metrics: dict[str, Any]) -> str:
    data, test, sure = metrics["data"], metrics["test"]["per_label"], metrics["intervals"]
    rows = [
        f"| {_inline(name)} | {data['positives'][name]} | {data['positives'][name] / n:.1%} |"
        f" {_figure(test[name])} | {_range(sure['per_label'][name])} |"
        for n in [data["n_rows"]]
        for name in manifest.label_names
    ]
    table = "\n".join(rows)
    return f"""## Classes

The most probable class is the answer. Average precision is that of telling it from all others.

| class | texts of it | share | average precision | interval |
|---|---|---|---|---|
{table}"""


def _labels(manifest: Manifest, metrics: dict[str, Any], thresholds: Sequence[float]) -> str:
    data, test, sure = metrics["data"], metrics["test"]["per_label"], metrics["intervals"]
    decided = metrics["decisions"]["per_label"]
    rows = [
        f"| {_inline(name)} | {data['positives'][name]} | {data['positives'][name] / n:.1%} |"
        f" {threshold:.3g} | {decided[name]['calibration']} | {_figure(test[name])} |"
        f" {_range(sure['per_label'][name])} |"
        for n in [data["n_rows"]]
        for name, threshold in zip(manifest.label_names, thresholds, strict=True)
    ]
    table = "\n".join(rows)
    return f"""## Labels and thresholds

A label is given when its probability reaches its threshold.

| label | texts with it | share | threshold | calibration | average precision | interval |
|---|---|---|---|---|---|---|
{table}"""


def _decisions(decisions: dict[str, Any]) -> str:
    test, per_label = decisions["test"], decisions["per_label"]
    stages = {"uncalibrated": "before calibration", "calibrated": "after"}
    if all(one["calibration"] == "none" for one in per_label.values()):
        stages = {"uncalibrated": "not calibrated"}
    rows = [
        f"| {name} | {' | '.join(f'{test[stage][key]:.4f}' for stage in stages)} |"
        for key, name in TRUENESS.items()
    ]
    table = "\n".join(
        [f"| | {' | '.join(stages.values())} |", "|---" * (1 + len(stages)) + "|", *rows]
    )
    notes = [f"- {_inline(name)}: {one['note']}." for name, one in per_label.items() if one["note"]]
    parts = [
        *(["## Decisions", _thresholds(decisions)] if "f1_macro" in test else ["## Probabilities"]),
        f"""How far the probabilities are from the truth, on the test texts:

{table}""",
        *(["\n".join(notes)] if notes else []),
    ]
    return "\n\n".join(parts)


def _thresholds(decisions: dict[str, Any]) -> str:
    macro, micro = decisions["test"]["f1_macro"], decisions["test"]["f1_micro"]
    aim = decisions["chosen_for"]
    return f"""Thresholds were chosen for {aim}, on training texts, each scored by a member
that had not seen it. The mean of all members is slightly less extreme than one. On the test texts:

| average | F1 | F1 at 0.5 |
|---|---|---|
| macro | {macro["tuned"]:.4f} | {macro["half"]:.4f} |
| micro | {micro["tuned"]:.4f} | {micro["half"]:.4f} |"""


def _limits(manifest: Manifest, metrics: dict[str, Any]) -> str:
    data, teams = metrics["data"], metrics["ensemble"]["teams"]
    has_kernel = any(team["trial"] is None and team["share"] for team in teams)
    holders = "`reference.npz` and `ensemble.keras` hold" if has_kernel else "`reference.npz` holds"
    cuts = "\n".join(f"- {_cut(name, **read)}" for name, read in data["encoders"].items())
    others = (
        "It knows the labels above and no others; what has none of them should get low"
        " probabilities."
        if manifest.task == "multilabel"
        else "It knows the classes above and no others; each text gets one of them."
    )
    return f"""## Limits

{cuts}
- {others}
- It was measured on texts like those it was trained on, in their language. On texts of another kind
  or language, or from another time, expect less, and measure: `tagsweep evaluate` compares new
  labelled texts with these and says whether labels or embeddings have drifted.
- Labels with few texts have wide intervals: believe the interval, not the figure.
- {holders} embeddings of some training texts: no text is in there, but embeddings
  can be inverted in part (Morris et al. 2023, arXiv:2310.06816): share it as you would them. By the
  hashes of all of them in `reference.npz`, who has a text can tell whether it was trained on."""


def _cut(name: str, max_seq_length: int | None, n_truncated: int) -> str:
    if max_seq_length is None:
        return f"Only so much of a text counts as `{name}` reads."
    return (
        f"`{name}` reads the first {max_seq_length} tokens of a text; {n_truncated} of the texts"
        " were longer."
    )


def _range(interval: list[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _figure(value: float | None) -> str:
    return "no positive text" if value is None else f"{value:.4f}"


def _inline(text: str) -> str:
    """Return a text that stays in its cell and is no markup: labels come from anybody's header."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", " ".join(text.split()))
