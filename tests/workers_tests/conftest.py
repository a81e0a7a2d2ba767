from collections.abc import Callable
from typing import Any

import pytest
from optuna.storages import RDBStorage

from shared.config import SweepConfig, with_values
from shared.search.study import open_study
from workers import WorkerSpec

FAST: dict[str, dict[str, Any]] = {
    "space": {"n_layers": {"low": 1, "high": 2}, "max_units": 64},
    "training": {"max_epochs": 12},
    "study": {"n_trials": 6, "pruner": {"n_startup_trials": 2}},
}

MakeSpec = Callable[..., WorkerSpec]


@pytest.fixture
def make_spec(postgres_url: str, storage: RDBStorage, study_name: str) -> MakeSpec:
    """Return a function that opens a new study and gives the task of working on it."""

    def make(**sections: dict[str, Any]) -> WorkerSpec:
        config = with_values(with_values(SweepConfig(), FAST), sections)
        open_study(storage, study_name, config, "fingerprint")
        return WorkerSpec(postgres_url, study_name, "fingerprint", ("a", "b", "c"), config)

    return make
