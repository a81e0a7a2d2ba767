from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import optuna
import pytest
from optuna.study import Study
from optuna.trial import TrialState
from sqlalchemy import Connection, event

from shared.config.sweep import SweepConfig
from shared.study.attributes import FAILURE_KIND
from shared.study.study import open_study
from shared.study.tables.count import BestTrial, TrialTally, count_failed
from shared.study.tables.study_storage import StudyStorage


@pytest.fixture
def study(storage: StudyStorage, study_name: str) -> Study:
    return open_study(storage, study_name, SweepConfig(), "f")


@contextmanager
def _rows_read(storage: StudyStorage) -> Iterator[list[int]]:
    """Yield a list that gets the rows that each statement meanwhile returns."""
    rows: list[int] = []

    def count(_connection: Any, cursor: Any, *_rest: Any) -> None:
        rows.append(cursor.rowcount)

    event.listen(storage.engine, "after_cursor_execute", count)
    yield rows
    event.remove(storage.engine, "after_cursor_execute", count)


def test_trials_are_counted_by_state_as_they_change(storage: StudyStorage, study: Study) -> None:
    tally = TrialTally(study._study_id)
    first, second = study.ask(), study.ask()
    assert storage.transact(tally.count) == {TrialState.RUNNING: 2}
    study.tell(second, 0.5)
    assert storage.transact(tally.count) == {TrialState.RUNNING: 1, TrialState.COMPLETE: 1}
    study.tell(first, state=TrialState.FAIL)
    study.enqueue_trial({})
    assert storage.transact(tally.count) == {
        TrialState.FAIL: 1,
        TrialState.COMPLETE: 1,
        TrialState.WAITING: 1,
    }
    study.tell(study.ask(), state=TrialState.PRUNED)
    expected = {TrialState.FAIL: 1, TrialState.COMPLETE: 1, TrialState.PRUNED: 1}
    assert storage.transact(tally.count) == expected
    assert storage.transact(TrialTally(study._study_id).count) == expected


def test_trials_of_other_studies_are_not_counted(
    storage: StudyStorage, study: Study, study_name: str
) -> None:
    other = open_study(storage, f"{study_name}-2", SweepConfig(), "f")
    tally = TrialTally(study._study_id)
    for _ in range(2):
        study.tell(study.ask(), 0.5)
        other.ask()
        assert storage.transact(tally.count).keys() == {TrialState.COMPLETE}


def test_what_is_settled_is_not_read_again(storage: StudyStorage, study: Study) -> None:
    tally = TrialTally(study._study_id)
    for value in (0.5, 0.3, 0.4):
        study.tell(study.ask(), value)
    storage.transact(tally.count)
    storage.transact(tally.best)
    with _rows_read(storage) as rows:
        assert storage.transact(tally.count) == {TrialState.COMPLETE: 3}
        assert storage.transact(tally.best) == BestTrial(study.best_trial._trial_id, 1, (0.3,))
    assert sum(rows) < 10


@pytest.mark.parametrize("directions", [["minimize"], ["maximize"]])
def test_the_best_is_what_optuna_calls_so(
    storage: StudyStorage, study_name: str, directions: list[str]
) -> None:
    study = optuna.create_study(storage=storage, study_name=study_name, directions=directions)
    tally = TrialTally(study._study_id)
    assert storage.transact(tally.best) is None
    for value in (inf, 0.5, -inf, 0.25, 0.5, -inf, inf):
        study.tell(study.ask(), value)
        best = storage.transact(tally.best)
        assert best is not None
        assert best.value == study.best_value
        storage.transact(tally.count)
        assert best == storage.transact(TrialTally(study._study_id).best)


def test_of_several_objectives_the_next_one_and_then_the_number_decide(
    storage: StudyStorage, study_name: str
) -> None:
    study = optuna.create_study(
        storage=storage, study_name=study_name, directions=["maximize", "minimize"]
    )
    for values in ((0.5, 3), (0.7, 4), (0.7, 2), (0.7, 2), (0.1, 1)):
        study.tell(study.ask(), values)
    best = storage.transact(TrialTally(study._study_id).best)
    assert best is not None
    assert (best.number, best.values) == (2, (0.7, 2.0))


def test_failures_are_counted_by_an_attribute(storage: StudyStorage, study: Study) -> None:
    ids = []
    for kind in ("lost", "diverged", "lost"):
        trial = study.ask()
        ids.append(trial._trial_id)
        trial.set_user_attr(FAILURE_KIND, kind)
        study.tell(trial, state=TrialState.FAIL)
    study.ask().set_user_attr(FAILURE_KIND, "lost")

    def count(connection: Connection) -> tuple[int, ...]:
        args = (connection, study._study_id, FAILURE_KIND)
        return (count_failed(*args, "lost"), count_failed(*args, "lost", ids[:2]))

    assert storage.transact(count) == (2, 1)
