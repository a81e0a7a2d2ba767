"""Hold the parameters of many trials by name, as a sampler reads them."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution

from shared.study.tables.read import ParamColumn, Params


class ParamTable:
    """Parameters of trials, in Optuna's internal form: a column for each name, a row for each id.

    A dictionary for each trial would cost ten times as much to make.
    """

    def __init__(self) -> None:
        """Start without any trial."""
        self._values = defaultdict[str, dict[int, float]](dict)
        self._distributions = defaultdict[str, dict[int, BaseDistribution]](dict)

    def __contains__(self, trial_id: int) -> bool:
        """Say whether a trial has any parameter."""
        return any(trial_id in column for column in self._values.values())

    def add(self, column: ParamColumn) -> None:
        """Take in one parameter of several trials."""
        ids, name = column.trial_ids, column.name
        self._values[name].update(zip(ids, column.values, strict=True))
        self._distributions[name].update(zip(ids, repeat(column.distribution), strict=False))

    def set(self, trial_id: int, params: Params) -> None:
        """Take in several parameters of one trial."""
        for name, (value, distribution) in params.items():
            self._values[name][trial_id] = value
            self._distributions[name][trial_id] = distribution

    def params_of(self, trial_id: int) -> Params:
        """Return the parameters of a trial."""
        return {
            name: (column[trial_id], self._distributions[name][trial_id])
            for name, column in self._values.items()
            if trial_id in column
        }

    def rows(self, trial_ids: Collection[int], names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return the (n, len(names)) parameters of those of the trials, in order, that have all."""
        columns = [self._values[name] for name in names]
        whole = [i for i in trial_ids if all(i in column for column in columns)]
        table = np.empty((len(whole), len(names)))
        for place, column in enumerate(columns):
            table[:, place] = [column[i] for i in whole]
        return table

    def in_common(self, trial_ids: AbstractSet[int]) -> dict[str, BaseDistribution]:
        """Return the parameters that all of some trials have, from the same distribution."""
        columns = self._distributions.items() if trial_ids else ()
        return dict(
            sorted(
                (name, first)
                for name, column in columns
                if trial_ids <= column.keys()
                for first in _only(column[i] for i in trial_ids)
            )
        )

    def keep(self, trial_ids: AbstractSet[int]) -> None:
        """Let go of all but these trials."""
        columns: list[dict[int, Any]] = [*self._values.values(), *self._distributions.values()]
        for column in columns:
            for trial_id in column.keys() - trial_ids:
                del column[trial_id]


def _only(distributions: Iterator[BaseDistribution]) -> Sequence[BaseDistribution]:
    """Return the distribution that all of some are equal to, nothing if they are not."""
    first = next(distributions)
    # Most are the same object, and comparing them otherwise takes a hundred times as long.
    return [first] if all(one is first or one == first for one in distributions) else []
