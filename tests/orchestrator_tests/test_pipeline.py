import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import keras
import numpy as np
import optuna
import pandas as pd
import pytest
from rich.console import Console
from sqlalchemy import text

from orchestrator import conclude
from orchestrator.bundle.bundle import read_bundle
from orchestrator.bundle.predict import embed_texts, load_predictor, predict
from orchestrator.data.prepare import prepare
from orchestrator.data.splits import make_folds
from orchestrator.pipeline import run_all, run_prepare, run_search
from orchestrator.runs.locks import Lock, LockedError, locked
from orchestrator.runs.run import Run, define_run
from shared.config.sweep import dump_config, parse_config, with_values
from shared.errors import InputError
from shared.study.budget import is_spent
from shared.study.tables.study_storage import StudyStorage
from tests.tiny_encoder import write_tiny_encoder

WIDTHS = {"small": 16, "large": 24}
CONSOLE = Console(quiet=True)
TEXTS = ["The lid came off after two days", "could not be happier", "the lid came off"]


@pytest.fixture(scope="module")
def run(checkout: Path, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a finished run whose study chose among two encoders, and what is done with them."""
    folder = tmp_path_factory.mktemp("encoders")
    names = [
        str(write_tiny_encoder(folder / name, width, seed=width)) for name, width in WIDTHS.items()
    ]
    reviews = pd.read_csv(checkout / "examples" / "reviews.csv", nrows=300)
    reviews.to_parquet(folder / "reviews.parquet")
    choice = [False, True]
    values = {
        "data": {"csv": folder / "reviews.parquet"},
        "encoders": names,
        "space": {"concatenate": choice, "l2_normalize": choice, "standardize": choice},
        "study": {"name": f"encoders-{os.urandom(4).hex()}", "n_trials": 8},
        "training": {"max_epochs": 4},
        "ensemble": {"n_folds": 2},
        "decisions": {"calibration": "none"},
        "workers": {"pool": "inline"},
    }
    (folder / "sweep.yaml").write_text(dump_config(parse_config(values, "here")))
    defined = define_run(folder / "sweep.yaml", folder / "run", postgres_url, {})
    run_all(defined, CONSOLE)
    return defined


def test_the_study_chooses_among_encoders_and_all_of_them(run: Run, storage: StudyStorage) -> None:
    trials = optuna.load_study(storage=storage, study_name=run.study_name).trials
    small, large = run.config.all_encoders
    distributions = trials[0].distributions
    assert distributions["encoder"].choices == (small, large, f"{small} + {large}")
    assert {"l2_normalize", "standardize"} <= distributions.keys()
    assert len({trial.params["encoder"] for trial in trials}) > 1


def test_the_bundle_embeds_as_its_best_trial_did_and_predicts_as_its_members(run: Run) -> None:
    bundle = read_bundle(run.paths.bundle)
    names = [one.config.full_name for one in bundle.manifest.encoders]
    assert " + ".join(names) == bundle.metrics["search"]["params"]["encoder"]
    assert list(bundle.metrics["data"]["encoders"]) == names
    predictor = load_predictor(bundle)
    vectors = embed_texts(predictor, TEXTS)
    assert vectors.shape == (3, sum(WIDTHS[Path(name).name] for name in names))
    files = sorted(Path(run.store.url).glob("ensemble/*/fold-*.keras"))
    members = [keras.models.load_model(path, compile=False, safe_mode=True) for path in files]
    assert len(members) == 2
    expected = np.mean([keras.ops.convert_to_numpy(one(vectors)) for one in members], axis=0)
    np.testing.assert_allclose(predict(predictor, TEXTS).probabilities, expected, atol=1e-6)
    assert bundle.reference.vectors.shape[1] == vectors.shape[1]


def test_a_result_whose_making_was_interrupted_is_made_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(run, config=with_values(run.config, {"decisions": {"threshold": "half"}}))
    with monkeypatch.context() as patch:
        patch.setattr(conclude, "share_bundle", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_all(other, CONSOLE)
    assert run_all(other, CONSOLE).is_new
    assert not run_all(other, CONSOLE).is_new


def test_a_run_that_began_with_parquet_is_that_of_the_same_data_as_a_csv(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "reviews.csv"
    pd.read_parquet(run.config.data.csv[0]).to_csv(path, index=False, sep=";")
    other = replace(run, config=with_values(run.config, {"data": {"csv": path}}))
    assert prepare(other, CONSOLE).fingerprint == prepare(run, CONSOLE).fingerprint


def test_preparing_something_else_leaves_what_a_search_started_from(
    run: Run, checkout: Path, tmp_path: Path
) -> None:
    kept = run.paths.config.read_text()
    pd.read_csv(checkout / "examples" / "reviews.csv", nrows=299).to_csv(tmp_path / "fewer.csv")
    for values, reason in (
        ({"study": {"seed": 7}}, "study.seed was 42 and is 7"),
        ({"data": {"csv": tmp_path / "fewer.csv"}}, "the data changed"),
    ):
        other = replace(run, config=with_values(run.config, values))
        with pytest.raises(InputError, match=f"cannot go on, because {reason}"):
            run_prepare(other, CONSOLE)
    assert run.paths.config.read_text() == kept


@pytest.mark.parametrize(
    ("stage", "lock", "said"),
    [
        (run_all, Lock.SEARCH, "being searched by another"),
        (run_search, Lock.SEARCH, "being searched by another"),
        (run_all, Lock.ENSEMBLE, "having its ensemble made by another"),
    ],
)
def test_a_run_that_is_refused_has_changed_nothing_and_not_searched(
    run: Run, storage: StudyStorage, stage: Callable[..., object], lock: Lock, said: str
) -> None:
    """Another drives the study; a larger budget would be that of all workers from now on."""
    study = optuna.load_study(storage=storage, study_name=run.study_name)
    before = (study.user_attrs, run.paths.config.read_text(), run.paths.split.read_bytes())
    larger = replace(run, config=with_values(run.config, {"study": {"n_trials": 99}}))
    with (
        locked(storage, run.study_name, lock),
        pytest.raises(LockedError, match=said),
    ):
        stage(larger, CONSOLE)
    after = (study.user_attrs, run.paths.config.read_text(), run.paths.split.read_bytes())
    assert after == before
    assert is_spent(storage, study._study_id)


def test_an_ensemble_is_not_made_on_by_who_has_lost_the_lock(
    run: Run, storage: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(run, config=with_values(run.config, {"ensemble": {"n_folds": 3}}))
    kept, thieves = read_bundle(run.paths.bundle).metrics, ExitStack()

    def lose_the_lock(*arguments: Any) -> Any:
        with storage.engine.begin() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks"
                    " WHERE locktype = 'advisory' AND classid = :kind"
                ),
                {"kind": Lock.ENSEMBLE.value},
            )
        thieves.enter_context(locked(storage, run.study_name, Lock.ENSEMBLE))
        return make_folds(*arguments)

    monkeypatch.setattr("orchestrator.ensemble.assemble.make_folds", lose_the_lock)
    with thieves, pytest.raises(LockedError, match="its ensemble made by another"):
        run_all(other, CONSOLE)
    assert read_bundle(run.paths.bundle).metrics == kept
