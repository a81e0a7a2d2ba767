"""Read labelled texts from files, and refuse what could not be learnt from."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from orchestrator.data.class_column import class_names, one_hot
from orchestrator.data.columns import LeftOut, describe_words, find_labels, label_values
from orchestrator.data.formulas import inert
from orchestrator.data.label_lists import label_matrix, read_label_lists
from orchestrator.data.tables import Table, place, read_table, require_column
from shared.config.sections import DataConfig
from shared.errors import InputError
from shared.training.params import Task

TEXT_CURE = " Name the column of texts with --text-column."
"""What can be done about a text column that is not there."""


@dataclass(frozen=True)
class Dataset:
    """Hold n texts and their L labels: `labels` is (n, L) float32 of 0 and 1.

    With a `class_column`, whose header it is, the labels are classes: each row has one 1. What the
    files have in other columns, `left_out`, is not learnt from. `form` says what the files are, and
    `label_form` what stood for their labels' 0 and 1, if anything else did.
    """

    texts: tuple[str, ...]
    labels: npt.NDArray[np.float32]
    label_names: tuple[str, ...]
    source: str
    class_column: str | None = None
    left_out: tuple[LeftOut, ...] = ()
    form: str = ""
    label_form: str = ""

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
    """Read the configured files.

    Raises InputError naming file, row and column of what is wrong. Rows are counted from 1 after
    the header, in each file.
    """
    if not config.csv:
        raise InputError("No data: name a file with --data or data.csv in the configuration.")
    table = read_table(config)
    if config.class_column is not None:
        return _classified(table, config.text_column, config.class_column)
    if config.list_column is not None:
        dataset = _listed(table, config.text_column, config.list_column)
    else:
        names, left_out = _label_names(table, config)
        dataset = replace(_labelled(table, config.text_column, names), left_out=left_out)
    _require_both_kinds(dataset)
    return dataset


def load_labelled(config: DataConfig, label_names: tuple[str, ...]) -> Dataset:
    """Read texts and known labels of files, which may be 0 or 1 in every row.

    With a class column, the names are those of its classes, of which not all need a row. Where
    there is no list column, the labels may have columns. Raises InputError as load_dataset does.
    """
    other = config.class_column or config.list_column
    named = (config.text_column, *label_names, *([other] if other else []))
    table = read_table(config)
    # What tagsweep itself predicted may have names that were made inert.
    inert_names = {inert(name): name for name in named if name not in table.cells}
    table = replace(table, cells=table.cells.rename(columns=inert_names))
    if config.class_column is not None:
        return _classified(table, config.text_column, config.class_column, label_names)
    if config.list_column is not None and config.list_column in table.cells:
        return _listed(table, config.text_column, config.list_column, label_names)
    for name in label_names:
        require_column(table.cells, table.source, name)
    return _labelled(table, config.text_column, label_names)


def texts_of(table: Table, column: str) -> tuple[str, ...]:
    """Return the texts of a table, in order; raises InputError as load_dataset does."""
    require_column(table.cells, table.source, column, TEXT_CURE)
    texts = tuple(str(text) for text in table.cells[column])
    empty = [row for row, text in enumerate(texts) if not text.strip()]
    if empty:
        in_all = f", as in {len(empty)} rows" if len(empty) > 1 else ""
        raise InputError(
            f"{place(table.cells[column], empty[0])}: the text is empty{in_all}."
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


def _label_names(table: Table, config: DataConfig) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
    require_column(table.cells, table.source, config.text_column, TEXT_CURE)
    if not config.label_columns:
        return find_labels(table.cells, config.text_column, table.source)
    if config.text_column in config.label_columns:
        raise InputError(f"Column {config.text_column!r} cannot be both the text and a label.")
    for name in config.label_columns:
        require_column(table.cells, table.source, name, " Labels are named with --label-columns.")
    return config.label_columns, _unnamed(table, config.text_column, *config.label_columns)


def _unnamed(table: Table, *names: str) -> tuple[LeftOut, ...]:
    return tuple(LeftOut(name, "not named") for name in table.cells.columns if name not in names)


def _labelled(table: Table, text_column: str, names: tuple[str, ...]) -> Dataset:
    """Read a column of 0 and 1, or words for them, for each label."""
    texts = texts_of(table, text_column)
    labels = np.column_stack([label_values(table.cells[name]) for name in names])
    words = describe_words(table.cells, names)
    return Dataset(texts, labels, names, table.source, form=table.form, label_form=words)


def _listed(table: Table, text_column: str, column: str, names: tuple[str, ...] = ()) -> Dataset:
    """Read each row's labels, of `names` or, if there are none, of those that the column lists."""
    _require_own_column(table, text_column, column, "labels", "--list-column")
    texts, cells = texts_of(table, text_column), table.cells[column]
    rows, how = read_label_lists(cells, table.source)
    names = names or tuple(sorted(frozenset().union(*rows)))
    if not names:
        raise InputError(f"{table.source}: column {column!r} lists no label in any row.")
    return Dataset(
        texts,
        label_matrix(cells, rows, names),
        names,
        table.source,
        left_out=_unnamed(table, text_column, column),
        form=table.form,
        label_form=f"{column!r} lists labels, {how}",
    )


def _classified(
    table: Table, text_column: str, column: str, names: tuple[str, ...] = ()
) -> Dataset:
    """Read each row's class, one of `names` or, if there are none, of those that the column has."""
    _require_own_column(table, text_column, column, "class", "--class-column")
    texts, cells = texts_of(table, text_column), table.cells[column]
    names = names or class_names(cells, table.source)
    left_out = _unnamed(table, text_column, column)
    labels = one_hot(cells, names)
    return Dataset(texts, labels, names, table.source, column, left_out, form=table.form)


def _require_own_column(
    table: Table, text_column: str, column: str, what: str, option: str
) -> None:
    if column == text_column:
        raise InputError(f"Column {text_column!r} cannot be both the text and the {what}.")
    require_column(table.cells, table.source, column, f" Name the column with {option}.")


def _require_both_kinds(dataset: Dataset) -> None:
    for name, column in zip(dataset.label_names, dataset.labels.T, strict=True):
        if column.min() == column.max():
            raise InputError(
                f"{dataset.source}: column {name!r} is {column[0]:.0f} in every row, so there is"
                " nothing to learn. Drop the label, or add rows of the other kind."
            )
