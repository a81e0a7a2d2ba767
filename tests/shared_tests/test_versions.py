import pytest

from shared.errors import TagsweepError
from shared.versions import require_versions, versions


def test_a_process_has_the_versions_of_itself() -> None:
    assert versions().keys() == {"tagsweep", "keras", "optuna", "ray"}
    require_versions(versions(), "worker-0")


def test_another_version_is_refused_by_its_name() -> None:
    drivers = {**versions(), "keras": "2.0"}
    own = versions()["keras"]
    with pytest.raises(TagsweepError, match=f"worker-0 .* but keras is {own} and the driver's 2.0"):
        require_versions(drivers, "worker-0")
