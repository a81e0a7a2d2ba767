from collections.abc import Iterator

import pytest

from benchmarks.model.database import Database, simulated_database
from benchmarks.model.plants import PLANTS
from benchmarks.model.play import play


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[Database]:
    with simulated_database(postgres_url) as database:
        yield database


def test_whatever_goes_wrong_nothing_is_lost_doubled_or_taken_from_the_living(
    database: Database,
) -> None:
    assert play(database, n_examples=5, n_steps=60, number=1).violation is None


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_fault_is_found(database: Database, plant: str) -> None:
    assert play(database, n_examples=30, n_steps=60, number=1, plant=plant).violation is not None
