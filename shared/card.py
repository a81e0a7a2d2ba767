"""Write the model card of a bundle: what the classifier is, how good, and how to use it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.bundle import Manifest

TAGS = ["multi-label-classification", "sentence-transformers", "tagsweep"]
AVERAGES = {"ap_weighted": "weighted", "ap_macro": "macro", "ap_micro": "micro"}
TRUENESS = {"ece": "expected calibration error", "brier": "Brier score"}


def model_card(manifest: "Manifest", metrics: dict[str, Any]) -> str:
    """Return a model card in Markdown, with the front matter that the Hugging Face hub reads.

    Mitchell et al. 2019, "Model Cards for Model Reporting";
    https://huggingface.co/docs/hub/model-cards.
    """
    sections = [
        _front_matter(manifest, metrics),
        _summary(manifest, metrics),
        _data(metrics["data"]),
        _quality(metrics),
        _labels(manifest, metrics),
        _decisions(metrics["decisions"]),
        _limits(metrics),
        _usage(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(manifest: "Manifest", metrics: dict[str, Any]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    measured = [
        EvalResult(
            task_type="text-classification",
            dataset_type="csv",
            dataset_name=metrics["data"]["source"],
            dataset_split="test",
            metric_type="average_precision",
            metric_name=f"average precision, {name}",
            metric_value=round(metrics["test"][key], 4),
        )
        for key, name in AVERAGES.items()
    ]
    data = ModelCardData(
        base_model=_on_the_hub(manifest.encoder.name),
        eval_results=measured,
        library_name="keras",
        license="unknown",
        model_name="tagsweep",
        pipeline_tag="text-classification",
        tags=TAGS,
    )
    return f"---\n{data.to_yaml()}\n---"


def _on_the_hub(name: str) -> str | None:
    """Return the encoder's name on the hub; None for a folder."""
    if Path(name).is_dir():
        return None
    return name if "/" in name else f"sentence-transformers/{name}"


def _summary(manifest: "Manifest", metrics: dict[str, Any]) -> str:
    names = ", ".join(map(_inline, manifest.label_names))
    return f"""# A text classifier

It gives each of these labels a probability, independent of the others: {names}.

An ensemble of Keras heads on the embeddings of `{manifest.encoder.name}`, tuned by tagsweep on
{manifest.created.date()}. Average precision on texts that it had not seen, weighted by the labels'
shares: **{metrics["test"]["ap_weighted"]:.4f}** (logistic regression on the same embeddings:
{metrics["logistic_regression"]["ap_weighted"]:.4f})."""


def _data(data: dict[str, Any]) -> str:
    return f"""## Data

`{_inline(data["source"])}`: {data["n_rows"]} labelled texts, of which {data["n_known"]} served to
search and train and {data["n_test"]} to measure. Texts that are equal stay on one side, and both
sides have each label's share. The data's licence and origin are unknown to tagsweep: add them here,
and in `license` above."""


def _quality(metrics: dict[str, Any]) -> str:
    test, sure = metrics["test"], metrics["intervals"]
    baseline = metrics["logistic_regression"]
    rows = [
        f"| {name} | {test[key]:.4f} | {_range(sure.get(key))} | {baseline[key]:.4f} |"
        for key, name in AVERAGES.items()
    ]
    table = "\n".join(rows)
    return f"""## Quality

Average precision on the test texts, which took no part in any choice; 95 % bootstrap intervals.

| average | ensemble | interval | logistic regression |
|---|---|---|---|
{table}"""


def _labels(manifest: "Manifest", metrics: dict[str, Any]) -> str:
    data, test, sure = metrics["data"], metrics["test"]["per_label"], metrics["intervals"]
    decided = metrics["decisions"]["per_label"]
    rows = [
        f"| {_inline(name)} | {data['positives'][name]} | {data['positives'][name] / n:.1%} |"
        f" {threshold:.3g} | {decided[name]['calibration']} | {_figure(test[name])} |"
        f" {_range(sure['per_label'][name])} |"
        for n in [data["n_rows"]]
        for name, threshold in zip(manifest.label_names, manifest.thresholds, strict=True)
    ]
    table = "\n".join(rows)
    return f"""## Labels and thresholds

A label is given when its probability reaches its threshold.

| label | texts with it | share | threshold | calibration | average precision | interval |
|---|---|---|---|---|---|---|
{table}"""


def _decisions(decisions: dict[str, Any]) -> str:
    test, per_label = decisions["test"], decisions["per_label"]
    macro, micro = test["f1_macro"], test["f1_micro"]
    rows = [
        f"| {name} | {test['uncalibrated'][key]:.4f} | {test['calibrated'][key]:.4f} |"
        for key, name in TRUENESS.items()
    ]
    table = "\n".join(rows)
    notes = "".join(
        f"\n- {_inline(name)}: {one['note']}." for name, one in per_label.items() if one["note"]
    )
    return f"""## Decisions

Thresholds were chosen for {decisions["chosen_for"]}, on training texts, each scored by a member
that had not seen it. The mean of all members is slightly less extreme than one. On the test texts:

| average | F1 | F1 at 0.5 |
|---|---|---|
| macro | {macro["tuned"]:.4f} | {macro["half"]:.4f} |
| micro | {micro["tuned"]:.4f} | {micro["half"]:.4f} |

How far the probabilities are from the shares of texts with the label, on the test texts:

| mean over labels | before calibration | after |
|---|---|---|
{table}
{notes}""".rstrip()


def _limits(metrics: dict[str, Any]) -> str:
    data, teams = metrics["data"], metrics["ensemble"]["teams"]
    has_kernel = any(team["trial"] is None and team["share"] for team in teams)
    holders = "`reference.npz` and `ensemble.keras` hold" if has_kernel else "`reference.npz` holds"
    limit, n_longer = data["max_seq_length"], data["n_truncated"]
    cut = (
        "Only so much of a text counts as the encoder reads."
        if limit is None
        else f"Only the first {limit} tokens of a text count; {n_longer} of the texts were longer."
    )
    return f"""## Limits

- {cut}
- It knows the labels above and no others; what has none of them should get low probabilities.
- It was measured on texts like those it was trained on, in their language. On texts of another kind
  or language, or from another time, expect less, and measure: `tagsweep evaluate` compares new
  labelled texts with these and says whether labels or embeddings have drifted.
- Labels with few texts have wide intervals: believe the interval, not the figure.
- {holders} embeddings of some training texts: no text is in there, but embeddings
  can be inverted in part (Morris et al. 2023, arXiv:2310.06816): share it as you would them."""


def _usage(manifest: "Manifest") -> str:
    encoder = manifest.encoder
    prompt = f", prompt={encoder.prompt!r}" if encoder.prompt else ""
    cut = f"\nencoder.max_seq_length = {encoder.max_seq_length}" if encoder.max_seq_length else ""
    return f"""## Use

With tagsweep, from the folder that holds this one:

```sh
tagsweep predict bundle --text "Some text"
```

Without it, from inside this folder, given `sentence-transformers` and `keras`:

```python
import json
import keras
from sentence_transformers import SentenceTransformer

encoder = SentenceTransformer({encoder.name!r}){cut}
vectors = encoder.encode(["Some text"]{prompt})
probabilities = keras.models.load_model("ensemble.keras").predict(vectors, verbose=0)[0]
manifest = json.load(open("manifest.json", encoding="utf-8"))
for name, p, limit in zip(manifest["label_names"], probabilities, manifest["thresholds"]):
    print(f"{{name:<20}} {{p:.4f}} {{'yes' if p >= limit else 'no'}}")
```"""


def _range(interval: list[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _figure(value: float | None) -> str:
    return "no positive text" if value is None else f"{value:.4f}"


def _inline(text: str) -> str:
    """Return a text that stays in its cell and is no markup: labels come from anybody's header."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", " ".join(text.split()))
