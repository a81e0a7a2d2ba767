"""Faults that are planted to see whether the model finds them: what the code would be without."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection

from benchmarks.model.world import GRACE_S
from shared.study import budget, liveness
from shared.study.attributes import LOSSES, FailureKind
from shared.study.liveness import Reaper
from shared.study.tables import trials, write
from shared.study.tables.read import read_heartbeats, read_silences
from shared.study.tables.study import lock_study
from shared.study.tables.study_storage import StudyStorage
from shared.study.tables.trials import Begun, FailedTrial, Repetition

Patch = tuple[Any, str, Any]


def _all_as_if_running(_connection: Connection, trial_ids: Collection[int]) -> set[int]:
    return set(trial_ids)


def _find_old(reaper: Reaper, connection: Connection) -> dict[int, datetime | None]:
    beats = read_heartbeats(connection, reaper._study_id)
    ages_s = read_silences(connection, beats)
    return {trial_id: beat for trial_id, beat in beats.items() if ages_s[trial_id] > GRACE_S}


def _not_alone(storage: StudyStorage, _study_id: int, work: Any, closing: Any = None) -> Any:
    return storage.transact(work, closing)


def _lock_and_begin(connection: Connection, study_id: int, *arguments: Any) -> list[Begun]:
    lock_study(connection, study_id)
    return trials.begin_trials(connection, study_id, *arguments)


def _repeat_unlinked(failed: FailedTrial, kind: FailureKind) -> Repetition:
    n_losses = failed.system_attrs.get(LOSSES, 0) + (kind is FailureKind.LOST)
    return Repetition(failed.trial_id, {}, {LOSSES: n_losses})


def _find_nothing(*_: Any) -> list[Begun]:
    return []


PLANTS: Mapping[str, tuple[Patch, ...]] = {
    "no-fence": (
        (write, "lock_running", _all_as_if_running),
        (trials, "lock_running", _all_as_if_running),
    ),
    "age": ((Reaper, "_find_expired", _find_old),),
    "count-outside-lock": (
        (budget, "alone", _not_alone),
        (budget, "begin_trials", _lock_and_begin),
    ),
    "retry-not-linked": ((liveness, "_repeat", _repeat_unlinked),),
    "lost-commit": ((budget, "find_begun", _find_nothing),),
}
"""What is put in the place of what, by the fault's name."""


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Have a fault in the code for as long as the block lasts; None: have none."""
    with ExitStack() as stack:
        for where, what, instead in PLANTS[name] if name is not None else ():
            stack.enter_context(patch.object(where, what, instead))
        yield
