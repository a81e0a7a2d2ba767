"""Read the arguments of the commands that use a bundle; nothing else."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import (
    TextColumn,
)
from orchestrator.terminal import exit_codes


def predict(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="The bundle's folder or URL.")],
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
    """Give the probability and the decision of each label for new texts."""
    with exit_codes():
        from orchestrator.sharing import bundle_at
        from orchestrator.terminal import quiet_keras
        from shared.bundle import read_bundle, read_manifest

        texts = _read_texts(text=text, csv=csv, text_column=text_column, stdin=stdin)
        with bundle_at(bundle) as folder:
            read_manifest(folder)  # what is no bundle is refused before TensorFlow is imported
            quiet_keras()
            from orchestrator.predict import predict, write_csv

            loaded = read_bundle(folder)
        names = loaded.manifest.label_names
        prediction = predict(loaded, texts)
        if text is not None and output is None:
            rows = zip(names, prediction.probabilities[0], prediction.decisions[0], strict=True)
            for name, probability, decision in rows:
                typer.echo(f"{name:<20} {probability:.4f} {'yes' if decision else 'no'}")
        elif output is None:
            write_csv(sys.stdout, texts, names, prediction)
        else:
            with output.open("w", encoding="utf-8", newline="") as file:
                write_csv(file, texts, names, prediction)


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
    texts = (text,) if text is not None else tuple(line.rstrip("\n") for line in sys.stdin)
    if not texts or not all(one.strip() for one in texts):
        raise InputError("There must be at least one text, and none may be empty.")
    return texts
