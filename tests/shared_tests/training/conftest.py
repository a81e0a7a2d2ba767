from collections.abc import Callable, Iterator

import pytest

from shared.config.sections import TrainingConfig
from shared.training.backends import current_backend
from shared.training.matrix import Matrix
from shared.training.params import HeadParams, LayerParams
from shared.training.trainer import Epoch, Trainer
from workers import SearchArrays

MakeTrainer = Callable[..., Trainer]
WIDTHS = {"first": 3, "second": 5}
"""Two encoders' parts of the vectors."""


@pytest.fixture(scope="session")
def params() -> HeadParams:
    return HeadParams(
        layers=(LayerParams(16, "relu", 0.1), LayerParams(8, "swish", 0.0)),
        batch_size=16,
        learning_rate=1e-2,
        optimizer="adam",
        weight_decay=0.0,
        batch_normalization=False,
        label_smoothing=0.0,
        loss="cross_entropy",
        focal_gamma=2.0,
    )


@pytest.fixture(scope="session")
def matrix(arrays: SearchArrays) -> Matrix:
    return Matrix(arrays.vectors, arrays.labels)


@pytest.fixture
def make_trainer(matrix: Matrix) -> MakeTrainer:
    """Return a function that makes a trainer for small heads."""

    def make(n_slots: int = 1, matrix: Matrix = matrix, **training: float) -> Trainer:
        return Trainer(matrix, TrainingConfig(**training), n_slots, max_batch_size=32, max_layers=3)

    return make


@pytest.fixture(params=[True, False], ids=["padded", "as the backend does"])
def padding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pad heads to common widths, as on a GPU, and then what this backend does of itself."""
    if request.param:
        monkeypatch.setattr(current_backend(), "exact_shapes", lambda: False)
    return


def epochs_of(trainer: Trainer) -> dict[object, list[Epoch]]:
    """Train all heads of a trainer to their ends."""
    found: dict[object, list[Epoch]] = {}
    ended: set[object] = set()
    while len(ended) < trainer.n_heads:
        for epoch in trainer.advance():
            found.setdefault(epoch.key, []).append(epoch)
            if epoch.ending is not None:
                ended.add(epoch.key)
    return found
