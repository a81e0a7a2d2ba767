import keras
import pytest

from shared.errors import TagsweepError
from shared.versions import require_versions, versions


def test_a_process_has_the_versions_of_itself() -> None:
    libraries = {"keras", "numpy", "optuna", "ray", "scipy"}
    assert versions().keys() == {"tagsweep", "backend"} | libraries
    require_versions(versions(), "worker-0")


@pytest.mark.parametrize("name", ["keras", "numpy", "scipy", "backend"])
def test_another_version_is_refused_by_its_name(name: str) -> None:
    drivers = {**versions(), name: "2.0"}
    found = f"worker-0 .* but {name} is {versions()[name]} and the driver's 2.0"
    with pytest.raises(TagsweepError, match=found):
        require_versions(drivers, "worker-0")


def test_the_backend_is_the_one_that_keras_is_on() -> None:
    assert versions()["backend"].split()[0] == keras.backend.backend()
