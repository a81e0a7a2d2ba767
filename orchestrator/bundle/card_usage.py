"""Tell, in a model card, how a bundle predicts: with tagsweep, and with plain Python."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.bundle.manifest import BundledEncoder, Manifest
from shared.config.sections import QUANTISED
from shared.encoding.encoder import PACKAGE, PACKAGE_FOLDER, is_commit, is_packaged


def describe_usage(manifest: Manifest) -> str:
    """Return a section in Markdown: how to predict with tagsweep, and with plain Python."""
    encoders = manifest.encoders
    decide = _DECIDE_LABELS if manifest.task == "multilabel" else _DECIDE_CLASS
    are_packaged = [is_packaged(one.config.name, one.revision) for one in encoders]
    package = (
        f", and `{PACKAGE.replace('_', '-')}`, which has the encoder" if any(are_packaged) else ""
    )
    return f"""## Use

With tagsweep, from the folder that holds this one:

```sh
tagsweep predict bundle --text "Some text"
```

Without it, from inside this folder, given `sentence-transformers` and `keras`{package}:

```python
import json
import keras
{_embedding_code(encoders)}
probabilities = keras.models.load_model("ensemble.keras").predict(vectors, verbose=0)[0]
manifest = json.load(open("manifest.json", encoding="utf-8"))
{decide}
```{_caveats(encoders)}"""


_DECIDE_LABELS = """\
for name, p, limit in zip(manifest["label_names"], probabilities, manifest["thresholds"]):
    print(f"{name:<20} {p:.4f} {'yes' if p >= limit else 'no'}")"""
_DECIDE_CLASS = """\
print(manifest["label_names"][probabilities.argmax()])"""


def _caveats(encoders: Sequence[BundledEncoder]) -> str:
    """Say where the lines of Python need a change, or do not give quite what tagsweep does."""
    caveats = ""
    if any(is_commit(encoder.revision) for encoder in encoders):
        caveats += (
            "\n\nThe first time they download the encoder. Later they need no network, but wait"
            " for one unless `HF_HUB_OFFLINE=1` is in the environment."
        )
    for one in (encoder.config for encoder in encoders):
        if Path(one.name).is_dir():
            caveats += f"\n\n`{one.name}` is a folder: name where the encoder is on your machine."
        if one.backend in QUANTISED:
            caveats += (
                f"\n\ntagsweep embeds with {one.backend}, as the model was trained: its"
                " probabilities differ a little from those of these lines."
            )
    return caveats


def _embedding_code(encoders: Sequence[BundledEncoder]) -> str:
    """Return lines of Python that embed a text, with all encoders side by side."""
    is_one = len(encoders) == 1
    lines, calls = [] if is_one else ["import numpy as np"], []
    if any(is_packaged(one.config.name, one.revision) for one in encoders):
        lines.append("from importlib.resources import files")
    lines += ["from sentence_transformers import SentenceTransformer", ""]
    for i, bundled in enumerate(encoders):
        one, variable = bundled.config, "encoder" if is_one else f"encoder_{i}"
        lines.append(f"{variable} = SentenceTransformer({_location_code(bundled)})")
        if one.max_seq_length:
            lines.append(f"{variable}.max_seq_length = {one.max_seq_length}")
        prompt = "" if one.prompt is None else f", prompt={one.prompt!r}"
        calls.append(f'{variable}.encode(["Some text"]{prompt})')
    vectors = calls[0] if is_one else f"np.hstack([{', '.join(calls)}])"
    return "\n".join([*lines, f"vectors = {vectors}"])


def _location_code(bundled: BundledEncoder) -> str:
    """Return the arguments that load the very encoder, and where it is here, ask no network."""
    name = bundled.config.name
    if is_packaged(name, bundled.revision):
        return f'str(files("{PACKAGE}") / "{PACKAGE_FOLDER}")'
    return f"{name!r}, revision={bundled.revision!r}" if is_commit(bundled.revision) else repr(name)
