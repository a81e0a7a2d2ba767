from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from orchestrator.ensemble.candidates import (
    Candidate,
    best_trials,
    candidates_of,
    choose,
    ensemble_key,
)
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run
from shared.config.sweep import SweepConfig, with_values
from shared.errors import InputError, TagsweepError
from shared.study.attributes import FINGERPRINT

WIDTHS = {"encoder": 384}


def _run(folder: Path, **ensemble: Any) -> Run:
    space = {"n_layers": {"low": 1, "high": 1}, "activation": ["relu"]}
    values = {"ensemble": ensemble, "space": space}
    return Run(RunPaths(folder), with_values(SweepConfig(), values))


@pytest.fixture
def study() -> Study:
    """Return five complete trials, of which 1 and 2 are alike and 3 is the best, and one pruned."""
    study = optuna.create_study()
    study.set_user_attr(FINGERPRINT, "f")
    for value, dropout in ((0.9, 0.1), (0.5, 0.2), (0.6, 0.2), (0.4, 0.3), (0.7, 0.4)):
        study.add_trial(_trial(dropout, value, TrialState.COMPLETE))
    study.add_trial(_trial(0.5, 0.1, TrialState.PRUNED))
    return study


def _trial(dropout: float, value: float, state: TrialState) -> optuna.trial.FrozenTrial:
    params = {"n_units_l0": 64, "dropout0": dropout, "batch_size": 16}
    distributions = {
        "n_units_l0": IntDistribution(48, 384, log=True),
        "dropout0": FloatDistribution(0, 0.6),
        "batch_size": IntDistribution(8, 128),
    }
    return create_trial(state=state, value=value, params=params, distributions=distributions)


def _numbers(run: Run, study: Study) -> list[int]:
    return [trial.number for trial in best_trials(run, study)]


def _key(run: Run, study: Study) -> str:
    return ensemble_key(run, study, best_trials(run, study))


def _candidates(run: Run, study: Study) -> list[Candidate]:
    return candidates_of(run, study, best_trials(run, study), WIDTHS, "multilabel")


def test_the_best_trial_is_alone_unless_several_are_asked_for(tmp_path: Path, study: Study) -> None:
    assert _numbers(_run(tmp_path), study) == [3]
    assert _numbers(_run(tmp_path, source="top", top_k=2), study) == [3, 1]


def test_a_trial_that_was_chosen_is_alone_until_the_best_is_again(
    tmp_path: Path, study: Study
) -> None:
    choose(study, 4)
    assert _numbers(_run(tmp_path, source="greedy"), study) == [4]
    choose(study, None)
    assert _numbers(_run(tmp_path), study) == [3]


def test_the_ensemble_of_a_trial_alone_is_another_though_it_is_the_best_one(
    tmp_path: Path, study: Study
) -> None:
    keys = {_key(_run(tmp_path), study)}
    for number in (3, 4):
        choose(study, number)
        keys.add(_key(_run(tmp_path), study))
    assert len(keys) == 3


@pytest.mark.parametrize(("number", "what"), [(5, "it is PRUNED"), (9, "there is none")])
def test_a_trial_without_an_end_cannot_be_chosen(study: Study, number: int, what: str) -> None:
    with pytest.raises(InputError, match=f"Trial {number} of study .* complete, but {what}"):
        choose(study, number)


def test_of_several_objectives_the_first_says_which_trial_is_the_best(tmp_path: Path) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    for values in ([0.5, 1.0], [0.75, 3.0], [0.75, 2.0]):
        study.tell(study.ask(), values)
    assert _numbers(_run(tmp_path), study) == [2]


def test_trials_that_are_alike_count_once(tmp_path: Path, study: Study) -> None:
    assert _numbers(_run(tmp_path, source="greedy", top_k=9), study) == [3, 1, 4, 0]


def test_without_a_complete_trial_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TagsweepError, match="Give the search more trials"):
        best_trials(_run(tmp_path), optuna.create_study())


def test_members_of_a_trial_are_shared_by_all_ways_of_choosing(
    tmp_path: Path, study: Study
) -> None:
    (best,) = _candidates(_run(tmp_path), study)
    first, *_ = _candidates(_run(tmp_path, source="greedy"), study)
    assert (best.trial, best.key, best.params) == (3, first.key, first.params)
    (other,) = _candidates(_run(tmp_path, n_folds=4), study)
    assert other.key != best.key


def test_the_ensemble_is_another_when_its_trials_or_its_choice_are(
    tmp_path: Path, study: Study
) -> None:
    runs = [_run(tmp_path, **e) for e in ({}, {"source": "top"}, {"source": "greedy"})]
    keys = {_key(run, study) for run in runs}
    assert len(keys) == 3
    study.add_trial(_trial(0.6, 0.2, TrialState.COMPLETE))
    assert _key(runs[0], study) not in keys
