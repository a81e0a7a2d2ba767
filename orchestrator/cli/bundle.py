"""Read the arguments of the commands that use a bundle; nothing else."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from orchestrator.cli.options import Encoding, Quiet, Separator
from orchestrator.cli.texts import read_given, read_input, written
from orchestrator.terminal.console import exit_codes

if TYPE_CHECKING:
    from orchestrator.bundle.bundle import Bundle
    from orchestrator.bundle.manifest import Manifest
    from orchestrator.bundle.predict import Predictor
    from shared.config.sections import DataConfig

Location = Annotated[str, typer.Argument(metavar="BUNDLE", help="The bundle's folder or URL.")]
NewTextColumn = Annotated[
    str | None, typer.Option("--text-column", help="Default: what it was called in training.")
]


def predict(
    bundle: Location,
    stdin: Annotated[
        str | None,
        typer.Argument(metavar="[-]", help="Read texts from standard input, one a line."),
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="One text.")] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--input", metavar="FILE", help="Texts, as --data; other columns are kept."),
    ] = None,
    encoding: Encoding = None,
    separator: Separator = None,
    text_column: NewTextColumn = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="CSV", help="Default: standard output.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Give the probability and the decision of each label, or the class, for new texts."""
    with exit_codes():
        given = read_given(text=text, files=files or [], stdin=stdin)
        console = Console(stderr=True, quiet=quiet)
        with _opened(bundle) as (folder, manifest):
            data = _data(manifest, files or [], encoding, separator, text_column)
            table, texts = read_input(data, given)
            predictor = _load_predictor(folder, texts, console)
        from orchestrator.bundle.predict import predict, predict_in_chunks
        from orchestrator.bundle.predictions import write_predictions
        from orchestrator.terminal.progress import show_progress, with_rate

        names, class_column = manifest.label_names, manifest.class_column
        if text is not None and output is None:
            prediction = predict(predictor, texts)
            rows = zip(names, prediction.probabilities[0], prediction.decisions[0], strict=True)
            for name, probability, decision in rows:
                typer.echo(f"{name:<20} {probability:.4f} {'yes' if decision else 'no'}")
            return
        console.quiet |= output is None and sys.stdout.isatty()  # rows on it show how far it is
        with (
            written(output) as file,
            show_progress(console, "Predicting", len(texts)) as update,
        ):
            predictions = predict_in_chunks(predictor, texts, with_rate(update, "texts"))
            write_predictions(file, table, predictions, names, class_column)


def evaluate(
    bundle: Location,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Labelled texts.")],
    encoding: Encoding = None,
    separator: Separator = None,
    text_column: NewTextColumn = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Quiet = False,
) -> None:
    """Measure a bundle on new labelled texts, and say whether they differ from its own."""
    with exit_codes():
        from orchestrator.data.dataset import load_labelled
        from orchestrator.terminal.progress import show_wait

        console = Console(stderr=True, quiet=quiet)
        with _opened(bundle) as (folder, manifest):
            data = _data(manifest, files, encoding, separator, text_column)
            dataset = load_labelled(data, manifest.label_names)
            predictor = _load_predictor(folder, dataset.texts, console)
        from orchestrator.bundle.evaluate import describe, measure

        with show_wait(console, f"Measuring on {len(dataset.texts):,} texts"):
            found = measure(predictor, dataset)
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
            with _opened(bundle) as (folder, _):
                predictor = _load_predictor(folder, (), Console(stderr=True))
            from orchestrator.serving.server import serve

            serve(predictor, address)


def export_onnx(
    bundle: Location,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Where to write it.")],
) -> None:
    """Write the ensemble as an ONNX model: float32 embeddings in, probabilities out."""
    with exit_codes():
        _require_extra("onnx", "tf2onnx")
        with _opened(bundle) as (folder, _):
            model = _load(folder, Console(stderr=True)).model
        from orchestrator.bundle.onnx import write_onnx

        write_onnx(model, output)
        typer.echo(f"Wrote {output}.")


@contextmanager
def _opened(location: str) -> "Iterator[tuple[Path, Manifest]]":
    """Yield where a bundle is on this machine, and what it consists of."""
    from orchestrator.bundle.location import bundle_at
    from orchestrator.bundle.manifest import read_manifest

    with bundle_at(location) as folder:
        yield folder, read_manifest(folder)


def _data(
    manifest: "Manifest",
    files: Sequence[Path],
    encoding: str | None,
    separator: str | None,
    text_column: str | None,
) -> "DataConfig":
    """Lay out where new data are, with the columns that a bundle's own had if none is named."""
    from shared.config.sweep import SweepConfig, with_values

    data = {
        "csv": files,
        "encoding": encoding,
        "separator": separator,
        "text_column": text_column or manifest.text_column,
        "class_column": manifest.class_column,
        "list_column": manifest.list_column,
    }
    return with_values(SweepConfig(), {"data": data}).data


def _load(folder: Path, console: Console) -> "Bundle":
    """Read what is known to be a bundle: for its model, TensorFlow is imported."""
    from orchestrator.bundle.bundle import read_bundle
    from orchestrator.terminal.console import quiet_keras
    from orchestrator.terminal.progress import show_wait

    with show_wait(console, "Loading the model"):
        quiet_keras()
        return read_bundle(folder)


def _load_predictor(folder: Path, texts: Sequence[str], console: Console) -> "Predictor":
    from orchestrator.terminal.progress import show_wait

    loaded = _load(folder, console)
    with show_wait(console, "Loading the encoder"):
        from orchestrator.bundle.predict import load_predictor

        return load_predictor(loaded, texts)


def _require_extra(extra: str, module: str) -> None:
    from shared.errors import InputError
    from shared.extras import way_to_install

    if find_spec(module) is None:
        raise InputError(f"This needs the extra {extra!r}. {way_to_install(extra)}")
