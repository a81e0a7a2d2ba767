"""Play seeded searches in which everything goes wrong, and print whether what must hold did.

`--examples 100 --steps 200 --seed 1`; exits with 1 when it did not, or a plant stays hidden.
"""

import json
import logging
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Annotated, Any

import optuna
import typer

from benchmarks.model.database import simulated_database
from benchmarks.model.plants import PLANTS
from benchmarks.model.play import play
from orchestrator.runs.database import embedded_postgres

ALL = "all"


def main(
    examples: Annotated[int, typer.Option(help="Searches to play.")] = 100,
    steps: Annotated[int, typer.Option(help="Steps of each, until it is left to its end.")] = 200,
    seed: Annotated[int, typer.Option(help="The same searches for the same one.")] = 1,
    plant: Annotated[
        str | None, typer.Option(help=f"A fault to plant: {', '.join(PLANTS)}, or {ALL}.")
    ] = None,
) -> None:
    """Play searches on a PostgreSQL of their own, and print what they came to."""
    logging.getLogger("shared").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if plant not in {None, ALL, *PLANTS}:
        raise typer.BadParameter(f"There is no plant {plant!r}.")
    names = list(PLANTS) if plant == ALL else [plant]
    started, played = time.monotonic(), []
    with (
        tempfile.TemporaryDirectory(prefix="model-") as folder,
        embedded_postgres(Path(folder) / "postgres") as url,
    ):
        for name in names:
            with simulated_database(url) as database:
                played.append(play(database, examples, steps, seed, name))
    n_violations = sum(one.violation is not None for one in played)
    found: dict[str, Any] = {
        "examples": examples,
        "seed": seed,
        "steps": sum(one.n_steps for one in played),
        "seconds": round(time.monotonic() - started, 1),
    }
    if plant is None:
        found["violations"] = n_violations
    else:
        found |= {"planted": len(names), "planted_found": n_violations}
    for name, one in zip(names, played, strict=True):
        if one.violation is not None and name is None:
            traceback.print_exception(one.violation)
        elif one.violation is not None:
            print(f"{name}: {one.violation}", file=sys.stderr)
    print(json.dumps(found))
    sys.exit(n_violations != (0 if plant is None else len(names)))


if __name__ == "__main__":
    typer.run(main)
