import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from optuna.trial import Trial, TrialState

from shared.config import SweepConfig
from shared.errors import TagsweepError
from shared.search.budget import ask, is_spent
from shared.search.study import FAILURE, load_study, open_study, read_progress
from shared.sections import StudyConfig

CONFIG = SweepConfig()


def limits(n_trials: int, target_value: float | None = None) -> StudyConfig:
    return StudyConfig(n_trials=n_trials, target_value=target_value)


def test_asking_ends_when_running_and_finished_trials_fill_the_budget(
    storage: RDBStorage, study_name: str
) -> None:
    study = open_study(storage, study_name, CONFIG, "f")
    (first,) = ask(storage, study._study_id, limits(2))
    (second,) = ask(storage, study._study_id, limits(2), n=5)
    assert ask(storage, study._study_id, limits(2)) == []
    assert not is_spent(storage, study._study_id, limits(2))
    study.tell(first.number, 1.0)
    study.tell(second.number, state=TrialState.PRUNED)
    assert ask(storage, study._study_id, limits(2)) == []
    assert is_spent(storage, study._study_id, limits(2))


def test_a_failed_trial_makes_room_for_another(storage: RDBStorage, study_name: str) -> None:
    study = open_study(storage, study_name, CONFIG, "f")
    (failed,) = ask(storage, study._study_id, limits(1))
    study.tell(failed.number, state=TrialState.FAIL)
    assert ask(storage, study._study_id, limits(1))


def test_a_waiting_trial_is_handed_out_before_a_new_one(
    storage: RDBStorage, study_name: str
) -> None:
    study = open_study(storage, study_name, CONFIG, "f")
    study.enqueue_trial({"x": 0.25})
    (begun,) = ask(storage, study._study_id, limits(1))
    assert Trial(study, begun.trial_id).suggest_float("x", 0, 1) == 0.25
    assert begun.system_attrs == {"fixed_params": {"x": 0.25}}


def test_workers_that_race_for_the_last_trials_neither_exceed_nor_miss_the_budget(
    postgres_url: str, storage: RDBStorage, study_name: str
) -> None:
    names = [f"{study_name[:20]}-{study_name[-8:]}-{round_}" for round_ in range(80)]
    for name in names:
        open_study(storage, name, CONFIG, "f")
    racers = Path(__file__).with_name("racers.py")
    subprocess.run([sys.executable, racers, postgres_url, "16", ",".join(names)], check=True)
    for round_, name in enumerate(names):
        trials = load_study(storage, name, CONFIG, 0).trials
        assert [trial.number for trial in trials] == list(range(len(trials)))
        states = Counter(trial.state for trial in trials)
        assert states.pop(TrialState.FAIL, 0) <= 2
        assert states == {TrialState.COMPLETE: 1 + round_ % 3}


def test_trials_that_optunas_own_way_creates_meanwhile_get_other_numbers(
    storage: RDBStorage, study_name: str
) -> None:
    study = open_study(storage, study_name, CONFIG, "f")
    user = threading.Thread(target=lambda: [study.enqueue_trial({"x": 0.5}) for _ in range(50)])
    user.start()
    while user.is_alive():
        ask(storage, study._study_id, limits(1000))
    numbers = [trial.number for trial in study.trials]
    assert sorted(numbers) == list(range(len(numbers)))


@pytest.mark.parametrize("reason", ["diverged: the loss was not finite", "out of memory: a head"])
def test_a_search_whose_every_trial_fails_by_its_parameters_gives_up(
    storage: RDBStorage, study_name: str, reason: str
) -> None:
    study = open_study(storage, study_name, CONFIG, "f")
    for _ in range(3):
        (begun,) = ask(storage, study._study_id, limits(3), attrs={FAILURE: reason})
        study.tell(begun.number, state=TrialState.FAIL)
    with pytest.raises(TagsweepError, match="3 trials failed, as many as the budget has"):
        ask(storage, study._study_id, limits(3))


def test_a_good_enough_trial_ends_the_search(storage: RDBStorage, study_name: str) -> None:
    study = open_study(storage, study_name, CONFIG, "f")
    enough = limits(9, target_value=0.4)
    for value in (0.5, 0.4):
        assert not is_spent(storage, study._study_id, enough)
        (begun,) = ask(storage, study._study_id, enough)
        study.tell(begun.number, value)
    assert is_spent(storage, study._study_id, enough)
    assert ask(storage, study._study_id, enough) == []


def test_average_precision_is_good_enough_from_below(storage: RDBStorage, study_name: str) -> None:
    enough = StudyConfig(n_trials=9, objective="ap_macro", target_value=0.7)
    study = open_study(storage, study_name, SweepConfig(study=enough), "f")
    for value in (0.6, 0.8):
        assert not is_spent(storage, study._study_id, enough)
        (begun,) = ask(storage, study._study_id, enough)
        study.tell(begun.number, value)
    assert is_spent(storage, study._study_id, enough)
    best = read_progress(study).best
    assert best is not None
    assert best.value == study.best_value == 0.8
