from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.study import Study
from optuna.trial import FixedTrial

from shared.config.sections import WorkersConfig
from shared.config.space import SpaceConfig
from shared.config.sweep import SweepConfig, with_values
from shared.store import Store
from shared.study.attributes import UUID
from shared.study.space import suggest
from shared.study.study import open_study
from shared.study.tables.study_storage import StudyStorage
from shared.training.matrix import Matrix
from shared.training.params import HeadParams
from shared.training.trainer import Trainer
from tests.foreign import enter_foreign_folder
from workers import SearchArrays, WorkerSpec
from workers.heartbeat import Heartbeat

FAST: dict[str, dict[str, Any]] = {
    "space": {"n_layers": {"low": 1, "high": 2}, "max_units": 64},
    "training": {"max_epochs": 12},
    "study": {"n_trials": 6, "pruner": {"n_startup_trials": 2}},
}

MakeSpec = Callable[..., WorkerSpec]


@pytest.fixture
def make_spec(
    postgres_url: str, storage: StudyStorage, study_name: str, tmp_path: Path
) -> MakeSpec:
    """Return a function that opens a new study and gives the task of working on it."""

    def make(**sections: dict[str, Any]) -> WorkerSpec:
        config = with_values(with_values(SweepConfig(), FAST), sections)
        study = open_study(storage, study_name, config, "fingerprint")
        names, store, uuid = ("a", "b", "c"), Store(str(tmp_path)), study.user_attrs[UUID]
        return WorkerSpec(postgres_url, study_name, "fingerprint", names, config, store, uuid)

    return make


@pytest.fixture
def trainer(arrays: SearchArrays) -> Trainer:
    matrix = Matrix(arrays.vectors, arrays.labels, widths={"encoder": arrays.vectors.shape[1]})
    return Trainer(matrix, SweepConfig().training, n_slots=1, max_batch_size=32, max_layers=3)


@pytest.fixture
def params() -> HeadParams:
    trial = FixedTrial({"n_layers": 1, "n_units_l0": 16, "dropout0": 0.1, "batch_size": 16})
    return suggest(trial, SpaceConfig(activation=("relu",), min_units=8), {"encoder": 16})


@pytest.fixture
def heartbeat(study: Study, storage: StudyStorage) -> Iterator[Heartbeat]:
    """Return the heartbeat of a worker on the study that the test module defines."""
    opened = Heartbeat(storage, study._study_id, "this worker", WorkersConfig())
    yield opened
    opened.close()


@pytest.fixture
def foreign_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder that has others of the names of our packages, and of one that we use."""
    return enter_foreign_folder(tmp_path, monkeypatch)
