"""Read labelled texts from a CSV file, and refuse what could not be learnt from."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from orchestrator.data.class_column import class_names, one_hot
from orchestrator.data.columns import BINARY, LeftOut, find_labels, require_binary
from orchestrator.data.formulas import inert
from orchestrator.data.tables import read_table, require_closed_quotes, require_column
from shared.config.sections import DataConfig
from shared.errors import InputError
from shared.training.params import Task


@dataclass(frozen=True)
class Dataset:
    """Hold n texts and their L labels: `labels` is (n, L) float32 of 0 and 1.

    With a `class_column`, whose header it is, the labels are classes: each row has one 1. What the
    file has in other columns, `left_out`, is not learnt from.
    """

    texts: tuple[str, ...]
    labels: npt.NDArray[np.float32]
    label_names: tuple[str, ...]
    source: str
    class_column: str | None = None
    left_out: tuple[LeftOut, ...] = ()

    @property
    def task(self) -> Task:
        """What is learnt of them."""
        return "multilabel" if self.class_column is None else "multiclass"

    @cached_property
    def fingerprint(self) -> str:
        """The hash of texts, labels and names, wherever they were read from."""
        digest = hashlib.sha256(self.labels.tobytes())
        classes = () if self.class_column is None else (self.class_column,)
        for text in (*classes, *self.label_names, *self.texts):
            digest.update(text.encode() + b"\0")
        return digest.hexdigest()


def load_dataset(config: DataConfig) -> Dataset:
    """Read the configured CSV.

    Raises InputError naming file, row and column of what is wrong. Rows are counted from 1 after
    the header.
    """
    if config.csv is None:
        raise InputError("No data: name a CSV with --data or data.csv in the configuration.")
    table = read_table(config.csv)
    texts = texts_of(table, config.csv, config.text_column)
    if config.class_column is not None:
        return _classified(table, config.csv, texts, config.text_column, config.class_column)
    names, left_out = _label_names(table, config.csv, config)
    labels = np.column_stack([_labels(table[name], config.csv) for name in names])
    dataset = Dataset(texts, labels, names, str(config.csv), left_out=left_out)
    _require_both_kinds(dataset)
    return dataset


def load_labelled(
    path: Path, text_column: str, label_names: tuple[str, ...], class_column: str | None = None
) -> Dataset:
    """Read texts and the named labels of a CSV, which may be 0 or 1 in every row.

    With a class column, the names are those of its classes, of which not all need a row. Raises
    InputError as load_dataset does.
    """
    named = (text_column, *(label_names if class_column is None else [class_column]))
    table = read_table(path)
    # What tagsweep itself predicted may have names that were made inert.
    table = table.rename(columns={inert(name): name for name in named if name not in table})
    texts = texts_of(table, path, text_column)
    if class_column is not None:
        return _classified(table, path, texts, text_column, class_column, label_names)
    for name in label_names:
        require_column(table, path, name)
    labels = np.column_stack([_labels(table[name], path) for name in label_names])
    return Dataset(texts, labels, label_names, str(path))


def texts_of(table: pd.DataFrame, path: Path, column: str) -> tuple[str, ...]:
    """Return the texts of a table, in order; raises InputError as load_dataset does."""
    require_column(table, path, column, " Name the column of texts with --text-column.")
    require_closed_quotes(table, path, column)
    texts = tuple(str(text) for text in table[column])
    empty = [row for row, text in enumerate(texts, start=1) if not text.strip()]
    if empty:
        in_all = f", as in {len(empty)} rows" if len(empty) > 1 else ""
        raise InputError(
            f"{path}, row {empty[0]}, column {column!r}: the text is empty{in_all}."
            " Drop the row, or give it a text."
        )
    return texts


def require_rows(dataset: Dataset, groups: npt.NDArray[np.int64], n_folds: int) -> None:
    """Raise InputError when the texts are too few to be divided; `groups` has those that are alike.

    Rule: the distinct texts must outnumber the folds, and each label needs at least n_folds + 2
    distinct texts with and without it: one for the test split, one to validate trials, and one in
    every fold. So does each class.
    """
    n_needed = n_folds + 2
    n_texts = len(np.unique(groups))
    if n_texts < n_needed:
        raise InputError(
            f"{dataset.source}: {n_folds} folds need at least {n_needed} distinct texts, but there"
            f" are {n_texts}. Add rows, or lower ensemble.n_folds and study.n_folds."
        )
    in_classes = dataset.class_column is not None
    for name, column in zip(dataset.label_names, dataset.labels.T, strict=True):
        for value in (1,) if in_classes else (0, 1):
            n_with = len(np.unique(groups[column == value]))
            if n_with < n_needed:
                what = (dataset.class_column, repr(name)) if in_classes else (name, value)
                cure = "put the class together with another" if in_classes else "drop the label"
                raise InputError(
                    f"{dataset.source}: column {what[0]!r} is {what[1]} for {n_with} of the"
                    f" distinct texts, but {n_folds} folds need at least {n_needed}."
                    f" Add such rows, {cure}, or lower ensemble.n_folds and"
                    " study.n_folds."
                )


def _label_names(
    table: pd.DataFrame, path: Path, config: DataConfig
) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
    if not config.label_columns:
        return find_labels(table, config.text_column, path)
    if config.text_column in config.label_columns:
        raise InputError(f"Column {config.text_column!r} cannot be both the text and a label.")
    for name in config.label_columns:
        require_column(table, path, name, " Labels are named with --label-columns.")
    return config.label_columns, _unnamed(table, config.text_column, *config.label_columns)


def _unnamed(table: pd.DataFrame, *names: str) -> tuple[LeftOut, ...]:
    return tuple(LeftOut(name, "not named") for name in table.columns if name not in names)


def _classified(
    table: pd.DataFrame,
    path: Path,
    texts: tuple[str, ...],
    text_column: str,
    class_column: str,
    names: tuple[str, ...] = (),
) -> Dataset:
    """Read each row's class, one of `names` or, if there are none, of those that the column has."""
    if class_column == text_column:
        raise InputError(f"Column {text_column!r} cannot be both the text and the class.")
    require_column(table, path, class_column, " The class is named with --class-column.")
    cells = table[class_column]
    names = names or class_names(cells, path)
    left_out = _unnamed(table, text_column, class_column)
    labels = one_hot(cells, names, path)
    return Dataset(texts, labels, names, str(path), class_column, left_out)


def _labels(cells: "pd.Series[str]", path: Path) -> npt.NDArray[np.float32]:
    require_binary(cells, path)
    return np.array([BINARY[cell.strip()] for cell in cells], dtype=np.float32)


def _require_both_kinds(dataset: Dataset) -> None:
    for name, column in zip(dataset.label_names, dataset.labels.T, strict=True):
        if column.min() == column.max():
            raise InputError(
                f"{dataset.source}: column {name!r} is {column[0]:.0f} in every row, so there is"
                " nothing to learn. Drop the label, or add rows of the other kind."
            )
