import numpy as np
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from shared.study.sampler.param_table import ParamTable
from shared.study.tables.read import ParamColumn

RATE, WIDTH = FloatDistribution(1e-4, 1, log=True), IntDistribution(8, 64)


@pytest.fixture
def table() -> ParamTable:
    table = ParamTable()
    table.add(ParamColumn("width", WIDTH, [1, 2], [8.0, 16.0]))
    table.add(ParamColumn("rate", RATE, [1, 2, 3], [0.1, 0.2, 0.3]))
    return table


def test_a_trial_has_what_was_taken_in_of_it(table: ParamTable) -> None:
    table.set(4, {"width": (32.0, WIDTH)})
    assert table.params_of(2) == {"width": (16.0, WIDTH), "rate": (0.2, RATE)}
    assert table.params_of(4) == {"width": (32.0, WIDTH)}
    assert 4 in table
    assert 5 not in table


def test_rows_are_those_of_trials_that_have_all(table: ParamTable) -> None:
    rows = table.rows([3, 2, 1], ["rate", "width"])
    np.testing.assert_array_equal(rows, [[0.2, 16.0], [0.1, 8.0]])
    assert table.rows([3], ["width"]).shape == (0, 1)
    assert table.rows([1], ["nothing"]).shape == (0, 1)


def test_in_common_is_what_all_have_from_equal_distributions(table: ParamTable) -> None:
    assert table.in_common({1, 2}) == {"rate": RATE, "width": WIDTH}
    assert table.in_common({1, 2, 3}) == {"rate": RATE}
    table.set(3, {"width": (9.0, IntDistribution(8, 64))})
    assert list(table.in_common({1, 2, 3})) == ["rate", "width"]
    table.set(3, {"width": (9.0, IntDistribution(8, 65))})
    assert table.in_common({1, 2, 3}) == {"rate": RATE}
    assert table.in_common(set()) == {}


def test_what_is_not_kept_is_forgotten(table: ParamTable) -> None:
    table.keep({3})
    assert 1 not in table
    assert table.in_common({3}) == {"rate": RATE}
