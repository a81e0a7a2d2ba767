import pytest

from shared.training.fit import FitData, to_device
from shared.training.params import HeadParams, LayerParams
from workers import SearchArrays


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
        loss="binary_crossentropy",
        focal_gamma=2.0,
    )


@pytest.fixture(scope="session")
def data(arrays: SearchArrays) -> FitData:
    return to_device(arrays.vectors, arrays.labels, arrays.train_rows, arrays.valid_rows)
