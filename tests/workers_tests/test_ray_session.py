import pytest

from shared.sections import WorkersConfig
from workers.ray_session import count_workers


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, 8),
        ({"max": 3}, 3),
        ({"cpus_per_worker": 2}, 4),
        ({"cpus_per_worker": 16, "min": 2}, 2),
        ({"gpus_per_worker": 0.25}, 8),
        ({"gpus_per_worker": 1}, 2),
        ({"gpus_per_worker": 0.5, "max": 9}, 9),
    ],
)
def test_workers_fill_the_cores_or_the_gpus(config: dict[str, float], expected: int) -> None:
    assert count_workers(WorkersConfig.model_validate(config), n_cpus=8, n_gpus=2.0) == expected
