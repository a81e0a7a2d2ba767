import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from optuna.study import Study
from optuna.trial import Trial, TrialState
from sqlalchemy import event, text

from shared.config.sections import StudyConfig
from shared.config.sweep import SweepConfig
from shared.errors import TagsweepError
from shared.study.attributes import Failure, FailureKind, Limits
from shared.study.budget import ask, enqueue_first, is_spent
from shared.study.study import accept_config, load_study, open_study, read_progress
from shared.study.tables.count import TrialTally
from shared.study.tables.study_storage import StudyStorage

CONFIG = SweepConfig()


def _config(n_trials: int, **limits: Any) -> SweepConfig:
    return SweepConfig(study=StudyConfig(n_trials=n_trials, **limits))


@pytest.fixture
def open_with(storage: StudyStorage, study_name: str) -> Callable[..., Study]:
    """Return a function that opens a study with so many trials."""
    return lambda n_trials, **limits: open_study(
        storage, study_name, _config(n_trials, **limits), "f"
    )


def test_asking_ends_when_running_and_finished_trials_fill_the_budget(
    storage: StudyStorage, open_with: Callable[..., Study]
) -> None:
    study = open_with(2)
    (first,) = ask(storage, study._study_id)
    (second,) = ask(storage, study._study_id, n=5)
    assert ask(storage, study._study_id) == []
    assert not is_spent(storage, study._study_id)
    study.tell(first.number, 1.0)
    study.tell(second.number, state=TrialState.PRUNED)
    assert ask(storage, study._study_id) == []
    assert is_spent(storage, study._study_id)


def test_the_budget_is_the_studys_and_not_that_of_who_asks(
    storage: StudyStorage, open_with: Callable[..., Study]
) -> None:
    study = open_with(1)
    tally = TrialTally(study._study_id)
    assert len(ask(storage, study._study_id, n=5, tally=tally)) == 1
    accept_config(study, storage, _config(3))
    assert len(ask(storage, study._study_id, n=5, tally=tally)) == 2
    accept_config(study, storage, _config(2))
    assert ask(storage, study._study_id, n=5, tally=tally) == []


def test_whoever_opens_a_study_with_another_budget_has_not_changed_it(
    storage: StudyStorage, open_with: Callable[..., Study]
) -> None:
    study = open_with(1)
    open_with(9)
    assert len(ask(storage, study._study_id, n=9)) == 1


def test_a_failed_trial_makes_room_for_another(
    storage: StudyStorage, open_with: Callable[..., Study]
) -> None:
    study = open_with(1)
    (failed,) = ask(storage, study._study_id)
    study.tell(failed.number, state=TrialState.FAIL)
    assert ask(storage, study._study_id)


@contextmanager
def _losing_the_first_answer(storage: StudyStorage) -> Iterator[list[None]]:
    """Have the first COMMIT be done and its answer lost; yield the COMMITs."""
    commits: list[None] = []

    def lose_the_answer(connection: Any) -> None:
        commits.append(None)
        if len(commits) == 1:
            connection.connection.dbapi_connection.commit()
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    event.listen(storage.engine, "commit", lose_the_answer)
    yield commits
    event.remove(storage.engine, "commit", lose_the_answer)


def test_an_answer_that_was_lost_is_given_again(
    storage: StudyStorage, open_with: Callable[..., Study]
) -> None:
    study = open_with(10)
    study.enqueue_trial({"x": 0.5})
    with _losing_the_first_answer(storage) as commits:
        begun = ask(storage, study._study_id, n=3, attrs={"worker": "w"})
    assert len(commits) == 2
    assert [one.number for one in begun] == [0, 1, 2]
    assert begun[0].system_attrs["fixed_params"] == {"x": 0.5}
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING] * 3


def test_a_study_begins_with_its_first_parameters_once(
    storage: StudyStorage, open_with: Callable[..., Study]
) -> None:
    study = open_with(10)
    with _losing_the_first_answer(storage) as commits:
        enqueue_first(storage, study._study_id, {"x": 0.5})
    assert len(commits) == 2
    (trial,) = study.trials
    assert trial.state is TrialState.WAITING
    assert trial.system_attrs == {"fixed_params": {"x": 0.5}}


def test_no_first_parameters_come_after_others_have_begun_the_search(
    storage: StudyStorage, open_with: Callable[..., Study]
) -> None:
    study = open_with(1)
    ask(storage, study._study_id)
    enqueue_first(storage, study._study_id, {"x": 0.5})
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]


def test_a_waiting_trial_is_handed_out_before_a_new_one(
    storage: StudyStorage, open_with: Callable[..., Study]
) -> None:
    study = open_with(1)
    study.enqueue_trial({"x": 0.25})
    (begun,) = ask(storage, study._study_id)
    assert Trial(study, begun.trial_id).suggest_float("x", 0, 1) == 0.25
    assert begun.system_attrs == {"fixed_params": {"x": 0.25}}


def test_workers_that_race_for_the_last_trials_neither_exceed_nor_miss_the_budget(
    postgres_url: str, storage: StudyStorage, study_name: str
) -> None:
    names = [f"{study_name[:20]}-{study_name[-8:]}-{round_}" for round_ in range(80)]
    for round_, name in enumerate(names):
        open_study(storage, name, _config(1 + round_ % 3), "f")
    racers = Path(__file__).with_name("racers.py")
    subprocess.run([sys.executable, racers, postgres_url, "16", ",".join(names)], check=True)
    for round_, name in enumerate(names):
        trials = load_study(storage, name, CONFIG).trials
        assert [trial.number for trial in trials] == list(range(len(trials)))
        states = Counter(trial.state for trial in trials)
        assert states.pop(TrialState.FAIL, 0) <= 2
        assert states == {TrialState.COMPLETE: 1 + round_ % 3}


def test_trials_that_optunas_own_way_creates_meanwhile_get_other_numbers(
    storage: StudyStorage, open_with: Callable[..., Study]
) -> None:
    study = open_with(1000)
    tally = TrialTally(study._study_id)
    user = threading.Thread(target=lambda: [study.enqueue_trial({"x": 0.5}) for _ in range(50)])
    user.start()
    while user.is_alive():
        ask(storage, study._study_id, tally=tally)
    numbers = [trial.number for trial in study.trials]
    assert sorted(numbers) == list(range(len(numbers)))


@pytest.mark.parametrize("kind", [FailureKind.DIVERGED, FailureKind.OUT_OF_MEMORY])
def test_a_search_whose_every_trial_fails_by_its_parameters_gives_up(
    storage: StudyStorage, open_with: Callable[..., Study], kind: FailureKind
) -> None:
    study, failure = open_with(3), Failure(kind, "too much")
    for _ in range(3):
        (begun,) = ask(storage, study._study_id, attrs=failure.attrs)
        study.tell(begun.number, state=TrialState.FAIL)
    with pytest.raises(TagsweepError, match="3 trials failed, as many as the budget has"):
        ask(storage, study._study_id)


@pytest.mark.parametrize(
    ("objective", "target", "values"),
    [("validation_loss", 0.4, (0.5, 0.4)), ("ap_macro", 0.7, (0.6, 0.8))],
)
def test_a_good_enough_trial_ends_the_search(
    storage: StudyStorage,
    open_with: Callable[..., Study],
    objective: str,
    target: float,
    values: tuple[float, ...],
) -> None:
    study = open_with(9, objective=objective, target_value=target)
    tally = TrialTally(study._study_id)
    for value in values:
        assert not is_spent(storage, study._study_id, tally)
        (begun,) = ask(storage, study._study_id, tally=tally)
        study.tell(begun.number, value)
    assert is_spent(storage, study._study_id, tally)
    assert ask(storage, study._study_id, tally=tally) == []
    best = read_progress(study).best
    assert best is not None
    assert best.value == study.best_value == values[-1]


def test_a_study_is_spent_by_its_own_limits_or_by_those_asked_for(
    storage: StudyStorage, open_with: Callable[..., Study]
) -> None:
    study = open_with(1)
    study.tell(study.ask(), 0.5)
    assert is_spent(storage, study._study_id)
    assert not is_spent(storage, study._study_id, limits=Limits(n_trials=2))
