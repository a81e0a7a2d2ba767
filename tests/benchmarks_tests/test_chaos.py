import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.chaos import count_epochs
from shared.search.attributes import RESUMED_AT, RETRY_OF


def _attempts(*attempts: tuple[int, int]) -> list[FrozenTrial]:
    """Return a trial's attempts, each by the epoch that it resumed at and those then known."""
    study = optuna.create_study()
    for number, (resumed_at, n_known) in enumerate(attempts):
        attrs = {RETRY_OF: 0, RESUMED_AT: resumed_at} if number else {}
        values = dict.fromkeys(range(n_known), 0.5)
        state = TrialState.FAIL
        study.add_trial(create_trial(state=state, user_attrs=attrs, intermediate_values=values))
    return study.trials


def test_epochs_after_the_last_checkpoint_count_twice() -> None:
    assert count_epochs(_attempts((0, 5), (3, 8))) == (10, 2)


def test_epochs_that_only_the_checkpoint_knows_were_trained_once() -> None:
    assert count_epochs(_attempts((0, 5), (6, 8))) == (8, 0)


def test_an_attempt_that_never_began_counts_for_nothing() -> None:
    assert count_epochs(_attempts((0, 5), (0, 0), (4, 8))) == (9, 1)
