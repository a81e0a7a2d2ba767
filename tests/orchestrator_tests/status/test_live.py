import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.study import Study
from optuna.trial import TrialState
from rich.console import Console
from sqlalchemy.exc import OperationalError

from benchmarks.outages import outage
from orchestrator.runs.database import embedded_postgres
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run
from orchestrator.stage import Stage
from orchestrator.status.live import is_over, readings, watch
from orchestrator.status.status import Status, opened_status
from shared.config.sweep import SweepConfig, with_values
from shared.errors import InputError, TagsweepError
from shared.study.attributes import FAILURE, NODE, WORKER
from shared.study.patience import is_outage
from shared.study.study import accept_config, open_study
from shared.study.tables.storage import opened_storage
from shared.study.tables.study_storage import StudyStorage

AWAY = OperationalError("SELECT 1", None, Exception("the database is away"))


@pytest.fixture
def run(tmp_path: Path, postgres_url: str, study_name: str) -> Run:
    config = with_values(SweepConfig(), {"study": {"n_trials": 4, "name": study_name}})
    return Run(RunPaths(tmp_path), config, postgres_url)


@pytest.fixture
def study(storage: StudyStorage, run: Run) -> Study:
    return open_study(storage, run.study_name, run.config, "f")


def _scripted(*answers: Status | BaseException) -> Callable[[], Status]:
    left = iter(answers)

    def read() -> Status:
        answer = next(left)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return read


@pytest.fixture
def searching(run: Run, study: Study) -> Status:
    study.tell(study.ask(), 0.5)
    with opened_status(run) as read:
        return read()


def test_what_is_new_is_read_again_and_again(run: Run, study: Study) -> None:
    first = study.ask()
    first.set_user_attr(WORKER, "worker-0")
    first.set_user_attr(NODE, "here")
    with opened_status(run) as read:
        before = read()
        first.report(0.75, 0)
        during = read()
        study.tell(first, 0.5)
        failed = study.ask()
        failed.set_user_attr(FAILURE, "diverged")
        study.tell(failed, state=TrialState.FAIL)
        after = read()
    assert (before.running, before.running_trials[0].step) == (1, None)
    assert (during.running_trials[0].step, during.nodes[0].node) == (0, "here")
    assert (after.finished, after.best_value, after.running) == (1, 0.5, 0)
    assert [failure.reason for failure in after.failures] == ["diverged"]


def test_a_budget_that_is_raised_meanwhile_counts(
    run: Run, study: Study, storage: StudyStorage
) -> None:
    with opened_status(run) as read:
        assert read().budget == 4
        raised = with_values(run.config, {"study": {"n_trials": 9}})
        accept_config(study, storage, raised)
        assert read().budget == 9


def test_a_database_that_is_away_for_a_moment_is_waited_for(searching: Status) -> None:
    done = replace(searching, stage=Stage.DONE)
    read = _scripted(searching, AWAY, AWAY, done)
    found = list(readings(read, lambda status: status.stage is Stage.DONE, every_s=0.01))
    assert [status for status, _ in found] == [searching] * 3 + [done]
    first_s, *away_s, last_s = (seconds for _, seconds in found)
    assert first_s is last_s is None
    assert 0.01 <= away_s[0] < away_s[1]


def test_a_database_that_stopped_and_started_again_is_read_again(tmp_path: Path) -> None:
    run = Run(RunPaths(tmp_path), SweepConfig())
    with embedded_postgres(run.paths.database) as url:
        with opened_storage(url) as storage:
            study = open_study(storage, run.study_name, run.config, "f")
            study.tell(study.ask(), 0.5)
        with opened_status(run) as read:
            before = read()
            with outage(url):
                for _ in range(2):
                    with pytest.raises(Exception) as caught:  # noqa: PT011  of several kinds
                        read()
                    assert is_outage(caught.value)
            assert read() == before


def test_other_errors_are_not_waited_out(searching: Status) -> None:
    read = _scripted(searching, TagsweepError("boom"))
    with pytest.raises(TagsweepError, match="boom"):
        list(readings(read, lambda _: False, every_s=0))


def test_it_ends_with_the_run_but_for_an_ensemble_that_is_made_elsewhere(
    run: Run, searching: Status
) -> None:
    searched = replace(searching, stage=Stage.ENSEMBLE)
    assert [is_over(run, status) for status in (searching, searched)] == [False, False]
    assert is_over(run, replace(searching, stage=Stage.DONE))
    run.paths.job.write_text("{}")
    assert [is_over(run, status) for status in (searching, searched)] == [False, True]
    assert not is_over(run, replace(searched, is_driven=True)), "its last trials are coming in"


def _watched(run: Run, monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool, **env: str) -> str:
    """Return what is shown until Ctrl-C, which comes while it waits."""

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.status.live.time.sleep", interrupt)
    file = io.StringIO()
    watch(run, Console(file=file, width=80, height=24, force_terminal=is_terminal, _environ=env))
    return file.getvalue()


def test_ctrl_c_leaves_the_last_view_on_the_terminal(
    run: Run, searching: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = _watched(run, monkeypatch, is_terminal=True, TERM="xterm")
    assert f"{searching.study}: nobody" in shown
    assert "25%, 1 of 4 trials" in shown
    assert "\x1b[?1049h" not in shown, "not a screen that vanishes in the end"


@pytest.mark.parametrize(("is_terminal", "term"), [(False, "xterm"), (True, "dumb")])
@pytest.mark.usefixtures("searching")
def test_what_is_no_full_terminal_gets_plain_lines(
    run: Run, monkeypatch: pytest.MonkeyPatch, is_terminal: bool, term: str
) -> None:
    shown = _watched(run, monkeypatch, is_terminal=is_terminal, TERM=term)
    assert "Trials   1 of 4 finished, 0% pruned\n" in shown
    assert "\x1b" not in shown


def test_a_launched_run_without_its_server_says_what_to_do(run: Run) -> None:
    run.paths.job.write_text("{}")
    with pytest.raises(InputError, match="--storage to watch it, or follow .* `tagsweep logs`"):
        watch(replace(run, storage_url=None), Console(file=io.StringIO()))


def test_a_run_without_a_study_cannot_be_watched(run: Run) -> None:
    with pytest.raises(TagsweepError, match="has no study .* yet"):
        watch(run, Console(file=io.StringIO()))
