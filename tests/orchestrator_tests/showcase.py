"""A study's data and result, as small as they can be."""

from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.data.dataset import Dataset
from orchestrator.data.embeddings import Embeddings
from orchestrator.data.prepare import Prepared
from orchestrator.data.splits import Split
from orchestrator.evaluation.scores import Scores
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run
from shared.config.sweep import SweepConfig, with_values
from shared.encoding.encoder import Encoder
from tests.tiny_bundle import comparison_of

DECISIONS = {"test": {"f1_macro": {"half": 0.4, "tuned": 0.45}}}
SECRET_TEXT = "nobody is to read this"  # noqa: S105
PASSWORD = "sesame"  # noqa: S105
KEY = "0123456789abcdef-key"


def run_at(folder: Path, study_name: str, *, is_on_a_server: bool = False) -> Run:
    """Return a run of 40 trials over `mails.csv`."""
    values = {"data": {"csv": folder / "mails.csv"}, "study": {"n_trials": 40, "name": study_name}}
    url = f"postgresql://me:{PASSWORD}@host/db" if is_on_a_server else None
    return Run(RunPaths(folder / "run"), with_values(SweepConfig(), values), url)


def prepared() -> Prepared:
    """Return ten texts, of which eight are `spam`, and one `a|b`."""
    labels = np.zeros((10, 2), dtype=np.float32)
    labels[:8, 0] = labels[0, 1] = 1
    rows = [np.arange(6), np.arange(6, 8), np.arange(8, 10)]
    return Prepared(
        Dataset((SECRET_TEXT,) * 10, labels, ("spam", "a|b"), "mails.csv"),
        {"mini": Encoder("mini", "folder", "revision", 16, None, "auto", None)},
        {"mini": Embeddings(np.zeros((10, 4), dtype=np.float32), "key", 0, 16)},
        np.zeros(10, dtype=np.int64),
        Split(*rows, fingerprint="0123456789abcdef-rest"),
        ((rows[0], rows[1]),),
    )


def metrics() -> dict[str, Any]:
    """Return what was measured, the ensemble better than the logistic regression."""
    counts = {"complete": 30, "pruned": 10, "failed": 1}
    search = {**counts, "search_s": 1234.5, "best_trial": 7, "key": "ensemble"}
    team = {"trial": 7, "share": 1.0}
    ensemble = {"source": "best", "members_key": KEY, "teams": [team]}
    measured = {"test": _measured(0.75), "logistic_regression": _measured(0.5)}
    measured |= {"comparison": comparison_of(), "regularisation": {"description": "C = 10"}}
    return measured | {"search": search, "ensemble": ensemble, "decisions": DECISIONS}


def scores() -> dict[str, Scores]:
    """Return what a model said of the test rows."""
    labels = np.array([[1, 0], [0, 1]], dtype=np.float32)
    said = np.array([[0.9, 0.2], [0.3, 0.6]], dtype=np.float32)
    return {
        name: Scores(np.arange(8, 10), labels, said) for name in ("test", "logistic_regression")
    }


def _measured(value: float) -> dict[str, Any]:
    averages = {f"ap_{name}": value for name in ("weighted", "macro", "micro")}
    return averages | {"per_label": {"spam": value, "a|b": value}}
