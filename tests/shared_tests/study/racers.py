"""Be several processes that race for the last trials of one study after the other."""

import multiprocessing
import sys
import time

from optuna.trial import TrialState

from shared.config.sweep import SweepConfig
from shared.study.budget import ask, is_spent
from shared.study.study import load_study
from shared.study.tables.storage import open_storage


def main(url: str, n_racers: int, names: list[str]) -> None:
    """Be as many processes, forked where all is imported; exit with 1 where one has failed."""
    context = multiprocessing.get_context("fork")
    racers = [
        context.Process(target=race, args=(url, names, number, n_racers))
        for number in range(n_racers)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    sys.exit(any(racer.exitcode for racer in racers))


def race(url: str, names: list[str], number: int, n_racers: int) -> None:
    """Pull trials, every other racer failing the first ones, until each budget is spent."""
    storage = open_storage(url)
    first = load_study(storage, names[0], SweepConfig())
    first.set_user_attr(f"racer-{number}", value=True)
    while sum(key.startswith("racer-") for key in first.user_attrs) < n_racers:
        time.sleep(0.05)
    for name in names:
        study = load_study(storage, name, SweepConfig())
        while True:
            trials = ask(storage, study._study_id)
            for trial in trials:
                is_failing = number % 2 == 0 and trial.number < 2
                end = (None, TrialState.FAIL) if is_failing else (0.5, TrialState.COMPLETE)
                study.tell(trial.number, *end)
            if not trials and is_spent(storage, study._study_id):
                break


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","))
