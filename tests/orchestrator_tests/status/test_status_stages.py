"""What `tagsweep status` shows at each stage of a run: in lines, as JSON, and live."""

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from optuna.study import Study
from optuna.trial import TrialState
from rich.console import Console

from orchestrator.ensemble.progress import EnsembleReporter, Work
from orchestrator.events.events import recording
from orchestrator.runs.locks import Lock, locked
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run
from orchestrator.status.status import describe_status, read_status
from orchestrator.status.view import Screen, view
from shared.config.sweep import SweepConfig, with_values
from shared.errors import TagsweepError
from shared.study.attributes import FAILURE
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage

SEVERAL = ("ap_macro", "n_parameters")


@pytest.fixture(params=["one objective", "several objectives"])
def run(request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str) -> Run:
    study: dict[str, Any] = {"n_trials": 2, "name": f"run-{os.urandom(4).hex()}"}
    if request.param == "several objectives":
        study["objective"] = SEVERAL
    return Run(RunPaths(tmp_path), with_values(SweepConfig(), {"study": study}), postgres_url)


@pytest.fixture
def study(storage: StudyStorage, run: Run) -> Study:
    return open_study(storage, run.study_name, run.config, "f")


@pytest.fixture
def hold(storage: StudyStorage, study: Study) -> Iterator[Callable[[Lock], object]]:
    """Return what takes a lock of the study, as whoever is at work on it does."""
    with ExitStack() as stack:
        yield lambda lock: stack.enter_context(locked(storage, study.study_name, lock))


def _finish(study: Study, n: int) -> None:
    for _ in range(n):
        study.tell(study.ask(), [0.25] * len(study.directions))


def _shown(run: Run) -> tuple[str, dict[str, Any], str]:
    """Return what is shown in lines, as JSON, and live."""
    status, file = read_status(run), io.StringIO()
    console = Console(file=file, width=80, height=24, color_system=None)
    console.print(view(status, Screen(80, 24, "utf-8")))
    return describe_status(status), json.loads(json.dumps(asdict(status))), file.getvalue()


def test_before_the_first_trial_and_while_none_is_complete_there_is_no_best_yet(
    run: Run, study: Study, hold: Callable[[Lock], object]
) -> None:
    hold(Lock.SEARCH)
    for n_running in (0, 1):
        lines, values, live = _shown(run)
        assert "Stage    searching\n" in lines
        assert "Best     none yet\n" in lines
        assert "time left unknown before a trial has finished" in lines
        assert (values["stage"], values["best_value"], values["best_values"]) == (
            "search",
            None,
            [],
        )
        assert values["running"] == n_running
        assert f"{run.study_name}: searching" in live
        assert "Best   none yet" in live
        study.ask()


def test_where_all_trials_have_failed_their_reasons_are_shown(run: Run, study: Study) -> None:
    trial = study.ask()
    trial.set_user_attr(FAILURE, "diverged")
    study.tell(trial, state=TrialState.FAIL)
    lines, values, live = _shown(run)
    assert "Best     none yet\n" in lines
    assert "Failed   #0 diverged" in lines
    assert values["failures"] == [{"trial": 0, "reason": "diverged"}]
    assert "#0 diverged" in live


def test_of_a_search_the_best_is_shown_by_its_objectives(
    run: Run, study: Study, hold: Callable[[Lock], object]
) -> None:
    hold(Lock.SEARCH)
    _finish(study, 1)
    lines, values, live = _shown(run)
    best = "ap_macro 0.2500, n_parameters 0.2500" if len(study.directions) > 1 else "0.2500"
    assert f"Best     {best} {{}}" in lines
    assert values["best_value"] == 0.25
    assert f"Best   {best}, trial 0" in live


def test_a_search_that_is_over_says_who_makes_its_ensemble(
    run: Run, study: Study, storage: StudyStorage, hold: Callable[[Lock], object]
) -> None:
    _finish(study, 2)
    stage = "the search is over, its ensemble is not made yet; go on with `tagsweep resume`"
    assert f"Stage    {stage}" in _shown(run)[0]
    with locked(storage, run.study_name, Lock.SEARCH):
        assert "Stage    the search is over, its ensemble comes next\n" in _shown(run)[0]
    hold(Lock.ENSEMBLE)
    assert "left" not in _shown(run)[0]


def test_of_an_ensemble_under_way_member_fold_and_time_left_are_shown(
    run: Run, study: Study, hold: Callable[[Lock], object]
) -> None:
    _finish(study, 2)
    hold(Lock.ENSEMBLE)
    reporter = EnsembleReporter(study, study.trials[1:], n_folds=5)
    lines, _, live = _shown(run)
    assert "Stage    making its ensemble\n         training its members, 0 of 5 done\n" in lines
    reporter._written_s = 0.0
    reporter.follow_epoch(3, trial=1, fold=4, step=8)
    lines, values, live = _shown(run)
    member = "training its members, 3 of 5 done, trial 1, fold 4, epoch 9, about 0 s left"
    assert f"making its ensemble\n         {member}\n" in lines
    assert (values["stage"], values["ensemble"]["fold"]) == ("ensemble", 4)
    assert "making its ensemble" in live
    assert f"Made   {member}"[:77] in live
    reporter.begin(Work.RESULT)
    assert "measuring it, and writing bundle and report\n" in _shown(run)[0]


def test_a_budget_that_is_smaller_than_what_there_is_is_said_to_be(run: Run, study: Study) -> None:
    _finish(study, 3)
    lines, values, live = _shown(run)
    assert "Trials   3 (2 asked for) finished" in lines
    assert (values["finished"], values["budget"]) == (3, 2)
    assert "100%, 3 (2 asked for) trials" in live


def test_why_the_last_command_failed_is_shown_while_none_is_at_work(
    run: Run, study: Study, storage: StudyStorage
) -> None:
    _finish(study, 1)
    with pytest.raises(TagsweepError), recording(run):
        raise TagsweepError("All workers died")
    lines, values, live = _shown(run)
    assert "nobody is searching; go on with `tagsweep resume`" in lines
    assert "         The last command failed: All workers died\n" in lines
    assert values["failure"] == "All workers died"
    assert "Ended  failed: All workers died" in live
    with locked(storage, run.study_name, Lock.SEARCH):
        assert _shown(run)[1]["failure"] is None
