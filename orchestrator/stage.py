"""Say how far a run is."""

from enum import StrEnum

from optuna.study import Study

from orchestrator.runs.run import Run, is_searched
from shared.study.tables.study_storage import StudyStorage


class Stage(StrEnum):
    """What a run with a study has to do next."""

    SEARCH = "search"
    ENSEMBLE = "ensemble"
    DONE = "done"


def stage_of(run: Run, study: Study, storage: StudyStorage) -> Stage:
    """Return the stage that a run is at, whether or not anybody is at work on it."""
    if not is_searched(run, study, storage):
        return Stage.SEARCH
    if not run.paths.bundle.exists():
        return Stage.ENSEMBLE
    from orchestrator.conclude import is_bundled  # which imports scikit-learn and takes a second

    return Stage.DONE if is_bundled(run, study) else Stage.ENSEMBLE
