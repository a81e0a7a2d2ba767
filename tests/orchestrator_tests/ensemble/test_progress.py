import pytest

from orchestrator.ensemble.progress import (
    EnsembleProgress,
    Work,
    describe_ensemble_progress,
    foresee,
    read_ensemble_progress,
)


def test_members_need_the_epochs_that_their_trial_took() -> None:
    expected = {7: 20, 9: 40}
    assert foresee({}, expected, n_left=2, pace=10.0) == pytest.approx(6.0)
    assert foresee({(7, 0): 5, (9, 1): 10}, expected, 2, 10.0) == pytest.approx(4.5)
    assert foresee({(7, 0): 5}, expected, n_left=2, pace=10.0) == pytest.approx(4.5)
    assert foresee({(7, 0): 50}, expected, n_left=1, pace=10.0) == pytest.approx(0.1)


def test_a_study_without_an_ensemble_says_nothing() -> None:
    assert read_ensemble_progress({}) is None


def test_work_after_the_members_is_named() -> None:
    assert describe_ensemble_progress(EnsembleProgress(Work.KERNEL, 5, 5)) == Work.KERNEL.value
