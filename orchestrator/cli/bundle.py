"""Read the arguments of the commands that use a bundle; nothing else."""

import json
import os
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import (
    TextColumn,
)
from orchestrator.terminal import exit_codes

if TYPE_CHECKING:
    from shared.bundle import Bundle

Location = Annotated[str, typer.Argument(metavar="BUNDLE", help="The bundle's folder or URL.")]


def predict(
    bundle: Location,
    stdin: Annotated[
        str | None,
        typer.Argument(metavar="[-]", help="Read texts from standard input, one a line."),
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="One text.")] = None,
    csv: Annotated[Path | None, typer.Option("--input", metavar="CSV", help="Texts.")] = None,
    text_column: TextColumn = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="CSV", help="Default: standard output.")
    ] = None,
) -> None:
    """Give the probability and the decision of each label, or the class, for new texts."""
    with exit_codes():
        texts = _read_texts(text=text, csv=csv, text_column=text_column, stdin=stdin)
        loaded = _read(bundle)
        from orchestrator.predict import load_predictor, predict, predict_in_chunks, write_csv

        names, class_column = loaded.manifest.label_names, loaded.manifest.class_column
        predictor = load_predictor(loaded, texts)
        if text is not None and output is None:
            prediction = predict(predictor, texts)
            rows = zip(names, prediction.probabilities[0], prediction.decisions[0], strict=True)
            for name, probability, decision in rows:
                typer.echo(f"{name:<20} {probability:.4f} {'yes' if decision else 'no'}")
        elif output is None:
            write_csv(sys.stdout, predict_in_chunks(predictor, texts), names, class_column)
        else:
            with output.open("w", encoding="utf-8", newline="") as file:
                write_csv(file, predict_in_chunks(predictor, texts), names, class_column)


def evaluate(
    bundle: Location,
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="Labelled texts.")],
    text_column: TextColumn = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a bundle on new labelled texts, and say whether they differ from its own."""
    with exit_codes():
        loaded = _read(bundle)
        from orchestrator.new_data import describe, measure
        from orchestrator.predict import load_predictor
        from shared.data.dataset import load_labelled

        names, class_column = loaded.manifest.label_names, loaded.manifest.class_column
        dataset = load_labelled(csv, text_column or "text", names, class_column)
        found = measure(load_predictor(loaded, dataset.texts), dataset)
        typer.echo(json.dumps(found, indent=2) if as_json else describe(found))


def serve(
    bundle: Location,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")
    ] = 8000,
    i_know: Annotated[
        bool, typer.Option("--i-know", help="Listen where others reach it: it has no passwords.")
    ] = False,
) -> None:
    """Predict over HTTP until Ctrl-C: POST /predict, GET /health, /metrics, /openapi.json."""
    with exit_codes():
        from orchestrator.listening import require_loopback, reserve

        _require_extra("serve", "fastapi")
        why = "The server has no passwords and predicts for anybody"
        require_loopback(host, why, is_known_open=i_know)
        with reserve(host, port) as address:
            loaded = _read(bundle)
            from orchestrator.predict import load_predictor
            from orchestrator.serving.server import serve

            serve(load_predictor(loaded), address)


def export_onnx(
    bundle: Location,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Where to write it.")],
) -> None:
    """Write the ensemble as an ONNX model: float32 embeddings in, probabilities out."""
    with exit_codes():
        _require_extra("onnx", "tf2onnx")
        loaded = _read(bundle)
        from orchestrator.onnx import write_onnx

        write_onnx(loaded.model, output)
        typer.echo(f"Wrote {output}.")


def _read(location: str) -> "Bundle":
    """Read a bundle, and import TensorFlow for it no sooner than it is known to be one."""
    from orchestrator.sharing import bundle_at
    from orchestrator.terminal import quiet_keras
    from shared.bundle import read_bundle, read_manifest

    with bundle_at(location) as folder:
        read_manifest(folder)
        quiet_keras()
        return read_bundle(folder)


def _require_extra(extra: str, module: str) -> None:
    from shared.errors import InputError

    if find_spec(module) is None:
        raise InputError(f"This needs the extra {extra!r}: pip install 'tagsweep[{extra}]'.")


def _read_texts(
    *, text: str | None, csv: Path | None, text_column: str | None, stdin: str | None
) -> tuple[str, ...]:
    """Read the texts from the one source that was given."""
    from shared.data.dataset import load_texts
    from shared.errors import InputError

    if (text is not None) + (csv is not None) + (stdin == "-") != 1 or stdin not in {None, "-"}:
        raise InputError("Give the texts in one way: --text TEXT, --input CSV, or - for lines.")
    if csv is not None:
        return load_texts(csv, text_column or "text")
    lines: Iterable[bytes] = [os.fsencode(text)] if text is not None else sys.stdin.buffer
    texts = tuple(_decode(number, line) for number, line in enumerate(lines, start=1))
    blank = [number for number, one in enumerate(texts, start=1) if not one.strip()]
    if blank or not texts:
        place = f", but line {blank[0]} is" if blank and stdin == "-" else ""
        raise InputError(f"There must be at least one text, and none may be empty{place}.")
    return texts


def _decode(number: int, line: bytes) -> str:
    from shared.errors import InputError

    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"Text {number} must be UTF-8, but is not: {error.reason}.") from error
