"""Read labelled texts from a CSV file, and refuse what could not be learnt from."""

import csv
import difflib
import hashlib
import shlex
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from shared.data.classes import class_names, looks_like_classes, one_hot
from shared.errors import InputError
from shared.sections import DataConfig
from shared.training.params import Task

BINARY = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
"""What a label cell may say, spaces around it aside."""


@dataclass(frozen=True)
class Dataset:
    """Hold n texts and their L labels: `labels` is (n, L) float32 of 0 and 1.

    With a `class_column`, whose header it is, the labels are classes: each row has one 1.
    """

    texts: tuple[str, ...]
    labels: npt.NDArray[np.float32]
    label_names: tuple[str, ...]
    source: str
    class_column: str | None = None

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
    table = _read_table(config.csv)
    texts = _texts(table, config.csv, config.text_column)
    if config.class_column is not None:
        return _classified(table, config.csv, texts, config.text_column, config.class_column)
    names = _label_names(table, config)
    labels = np.column_stack([_labels(table[name], config.csv) for name in names])
    dataset = Dataset(texts, labels, names, str(config.csv))
    _require_both_kinds(dataset)
    return dataset


def load_labelled(
    path: Path, text_column: str, label_names: tuple[str, ...], class_column: str | None = None
) -> Dataset:
    """Read texts and the named labels of a CSV, which may be 0 or 1 in every row.

    With a class column, the names are those of its classes, of which not all need a row. Raises
    InputError as load_dataset does.
    """
    table = _read_table(path)
    texts = _texts(table, path, text_column)
    if class_column is not None:
        return _classified(table, path, texts, text_column, class_column, label_names)
    for name in label_names:
        _require_column(table, path, name)
    labels = np.column_stack([_labels(table[name], path) for name in label_names])
    return Dataset(texts, labels, label_names, str(path))


def load_texts(path: Path, text_column: str) -> tuple[str, ...]:
    """Read the texts of a CSV in order; raises InputError as load_dataset does."""
    return _texts(_read_table(path), path, text_column)


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
                    f"{dataset.source}: column {what[0]!r} is {what[1]} for {n_with} distinct"
                    f" texts, but {n_folds} folds need at least {n_needed}."
                    f" Add such rows, {cure}, or lower ensemble.n_folds and"
                    " study.n_folds."
                )


def _read_table(path: Path) -> pd.DataFrame:
    _require_unique_header(path)
    try:
        with warnings.catch_warnings():
            # Of a row wider than the header pandas would only say that it drops what is beyond.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                index_col=False,
                on_bad_lines="error",
            )
    except pd.errors.ParserWarning as error:
        raise InputError(
            f"{path} is not a valid CSV: it has rows with more fields than its header has names."
            " Name every column, and quote texts that have commas in them."
        ) from error
    except pd.errors.ParserError as error:
        reason = str(error).removeprefix("Error tokenizing data. C error: ")
        raise InputError(f"{path} is not a valid CSV: {reason.strip()}.") from error
    if table.empty:
        raise InputError(f"{path} has a header but no rows.")
    return table


def _require_unique_header(path: Path) -> None:
    """Check the header ourselves: pandas would quietly rename a second column of a name."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
            for _ in iter(lambda: file.read(1 << 20), ""):
                pass
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} must be UTF-8, but is not: {error.reason} at byte {error.start} of a block."
            " Save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise InputError(f"{path} is not a valid CSV: {error}.") from error
    if not header:
        raise InputError(f"{path} is empty: it has no header.")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: the header names column {repeated[0]!r} more than once.")


def _texts(table: pd.DataFrame, path: Path, column: str) -> tuple[str, ...]:
    _require_column(table, path, column)
    texts = tuple(str(text) for text in table[column])
    for row, text in enumerate(texts, start=1):
        if not text.strip():
            raise InputError(f"{path}, row {row}, column {column!r}: the text is empty.")
    return texts


def _label_names(table: pd.DataFrame, config: DataConfig) -> tuple[str, ...]:
    if config.text_column in config.label_columns:
        raise InputError(f"Column {config.text_column!r} cannot be both the text and a label.")
    if config.label_columns:
        for name in config.label_columns:
            _require_column(table, config.csv, name)
        return config.label_columns
    candidates = [name for name in table.columns if name != config.text_column]
    names = tuple(name for name in candidates if _is_binary(table[name]))
    if not names:
        classes = next((name for name in candidates if looks_like_classes(table[name])), "NAME")
        raise InputError(
            f"{config.csv}: no column but the text has only the values 0 and 1. Name a column of"
            f" classes with --class-column {shlex.quote(classes)}, or labels with --label-columns"
            " to see what is wrong with them. Quantities cannot be predicted (no regression)."
        )
    return names


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
    _require_column(table, path, class_column)
    cells = table[class_column]
    names = names or class_names(cells, path)
    return Dataset(texts, one_hot(cells, names, path), names, str(path), class_column)


def _is_binary(cells: Iterable[str]) -> bool:
    return all(cell.strip() in BINARY for cell in cells)


def _labels(cells: "pd.Series[str]", path: Path) -> npt.NDArray[np.float32]:
    for row, cell in enumerate(cells, start=1):
        if cell.strip() not in BINARY:
            what = "nothing" if not cell.strip() else repr(cell)
            raise InputError(
                f"{path}, row {row}, column {cells.name!r}: a label must be 0 or 1, but is {what}."
            )
    return np.array([BINARY[cell.strip()] for cell in cells], dtype=np.float32)


def _require_both_kinds(dataset: Dataset) -> None:
    for name, column in zip(dataset.label_names, dataset.labels.T, strict=True):
        if column.min() == column.max():
            raise InputError(
                f"{dataset.source}: column {name!r} is {column[0]:.0f} in every row, so there is"
                " nothing to learn. Drop the label, or add rows of the other kind."
            )


def _require_column(table: pd.DataFrame, path: Path | None, name: str) -> None:
    if name in table.columns:
        return
    nearest = difflib.get_close_matches(name, table.columns, n=1, cutoff=0.0)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    columns = ", ".join(map(repr, table.columns))
    raise InputError(f"{path} has no column {name!r}; it has {columns}.{hint}")
