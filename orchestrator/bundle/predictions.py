"""Write predictions beside the table that they were made of."""

import csv
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

import numpy as np
import numpy.typing as npt

from orchestrator.data.formulas import inert

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.bundle.predict import Prediction

TAKEN = "_predicted"
"""What is put behind the name of a new column when the table has one of that name."""


def write_predictions(
    file: TextIO,
    table: "pd.DataFrame",
    predictions: Iterable["Prediction"],
    label_names: Sequence[str],
    class_column: str | None = None,
) -> None:
    """Write the table's n rows as a CSV, and behind each what is predicted of its text.

    That is each label's probability and decision (0 or 1), or with a class column each class's
    probability, and in that column the class; `predictions` come some rows at a time, in order.
    What a spreadsheet would take for a formula is made `inert`.
    """
    writer = csv.writer(file)
    writer.writerow(columns_of(table.columns, label_names, class_column))
    rows = table.itertuples(index=False, name=None)
    pairs = (
        pair
        for some in predictions
        for pair in zip(some.probabilities, some.decisions, strict=True)
    )
    for row, (probabilities, decisions) in zip(rows, pairs, strict=True):
        cells = _cells(probabilities, decisions, None if class_column is None else label_names)
        writer.writerow([*map(inert, row), *cells])


def columns_of(
    kept: Iterable[str], label_names: Sequence[str], class_column: str | None
) -> list[str]:
    """Name the columns, no two of them alike: those kept, then the new ones.

    A label's decision, and a class, stand under the name that they have in the data; where the
    table has a column of that name, the true labels perhaps, with TAKEN behind it.
    """
    columns: list[str] = []

    def add(name: str) -> str:
        name = inert(name)
        while name in columns:
            name += TAKEN
        columns.append(name)
        return name

    for name in kept:
        add(name)
    n_kept = len(columns)
    decided = [add(name) for name in (label_names if class_column is None else [class_column])]
    probable = [add(f"{name}_probability") for name in label_names]
    if class_column is not None:
        return [*columns[:n_kept], *probable, *decided]
    pairs = zip(probable, decided, strict=True)
    return [*columns[:n_kept], *(name for pair in pairs for name in pair)]


def _cells(
    probabilities: npt.NDArray[np.float32],
    decisions: npt.NDArray[np.bool_],
    class_names: Sequence[str] | None,
) -> list[object]:
    written = [f"{probability:.6f}" for probability in probabilities]
    if class_names is not None:
        return [*written, inert(class_names[int(decisions.argmax())])]
    pairs = zip(written, map(int, decisions), strict=True)
    return [cell for pair in pairs for cell in pair]
