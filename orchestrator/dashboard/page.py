"""Put into a study what optuna-dashboard shows of it beside its trials: note, plots, files.

A search is worth more than its page: what goes wrong here is logged, and stops nothing.
"""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from optuna.artifacts import get_all_artifact_meta, upload_artifact
from optuna.study import Study

from orchestrator.dashboard.artifacts import StoredArtifacts
from orchestrator.dashboard.note import describe_result, describe_search
from orchestrator.data.prepare import Prepared
from orchestrator.evaluation.scores import Scores
from orchestrator.runs.run import Run
from orchestrator.terminal.progress import Update
from shared.store import MissingError

REFRESH_S = 60.0
"""How often plots are drawn anew during a search; all who list studies read them."""
BEST_CURVES = 10
"""The trials whose learning curves are drawn."""

logger = logging.getLogger(__name__)


@contextmanager
def show_search(run: Run, prepared: Prepared, study: Study, update: Update) -> Iterator[Update]:
    """Say in the study that it is searched, and draw how, while the block lasts.

    Yields `update` as it is to be called instead: plots are drawn anew on the way, and at the end.
    """
    with _harmless("note"):
        _save_note(study, describe_search(run, prepared, "The search is under way."))
    drawn_s = time.monotonic()

    def update_and_draw(done: int, detail: str) -> None:
        nonlocal drawn_s
        update(done, detail)
        if time.monotonic() - drawn_s >= REFRESH_S:
            _draw_search(run, study)
            drawn_s = time.monotonic()

    yield update_and_draw
    _draw_search(run, study)
    with _harmless("note"):
        _save_note(study, describe_search(run, prepared, "Searched. The ensemble comes next."))


def show_making(run: Run, prepared: Prepared, study: Study) -> None:
    """Say in the study that its ensemble is made: a result that is there will not be the last."""
    with _harmless("note"):
        _save_note(study, describe_search(run, prepared, "Its ensemble is being made."))


def show_result(
    run: Run,
    prepared: Prepared,
    study: Study,
    metrics: dict[str, Any],
    scores: dict[str, Scores],
    bundle: str,
) -> None:
    """Put the result into the study: what it is, how precise on each label, and its files."""
    with _harmless("note"):
        _save_note(study, describe_result(run, prepared, metrics, bundle))
    with _harmless("plots"):
        from orchestrator.report.figures import label_precision, precision_recall

        _save_plot(study, "average-precision", label_precision(metrics, prepared.dataset.task))
        names = prepared.dataset.label_names
        _save_plot(study, "precision-recall", precision_recall(scores["test"], names))
    with _harmless("files"), tempfile.TemporaryDirectory(prefix="files-") as folder:
        store = StoredArtifacts(run.store)
        for path in _files_of(run, metrics["ensemble"]["members_key"], Path(folder)):
            _save_file(study, store, path)


def _draw_search(run: Run, study: Study) -> None:
    with _harmless("plots"):
        from orchestrator.report.figures import budget_over_time, learning_curves

        trials = study.get_trials(deepcopy=False)
        _save_plot(
            study, "learning-curves", learning_curves(trials, BEST_CURVES, study.directions[0])
        )
        _save_plot(study, "budget", budget_over_time(trials, run.config.study.n_trials))


def _save_note(study: Study, note: str) -> None:
    from optuna_dashboard import save_note

    save_note(study, note)


def _save_plot(study: Study, name: str, figure: Any) -> None:
    from optuna_dashboard import save_plotly_graph_object

    save_plotly_graph_object(study, figure, graph_object_id=name)


def _files_of(run: Run, key: str, folder: Path) -> Iterator[Path]:
    """Yield the files to keep with the study, made in a folder of their own where need be.

    A trial's checkpoint goes when it ends: the best trial's weights are those of a member.
    """
    from orchestrator.ensemble.members import name_of_member

    yield Path(shutil.make_archive(str(folder / "bundle"), "zip", run.paths.bundle))
    member = folder / "best-trial.keras"
    with suppress(MissingError):
        member.write_bytes(run.store.read_sealed(name_of_member(key, 0)))
        yield member
    if run.paths.report.exists():
        yield Path(shutil.copy(run.paths.report, folder / "report.html"))


def _save_file(study: Study, store: StoredArtifacts, path: Path) -> None:
    """Keep a file with the study, in the place of the one of the same name."""
    known = {meta.filename: meta.artifact_id for meta in get_all_artifact_meta(study)}
    if path.name not in known:
        upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=study)
        return
    with path.open("rb") as content:
        store.write(known[path.name], content)


@contextmanager
def _harmless(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001  what a database, a store or a plot raises is theirs
        logger.warning("The study's %s cannot be shown in optuna-dashboard: %s", what, error)
