import pytest
from sqlalchemy import text

from orchestrator.runs.locks import Lock, LockedError, is_driven, locked, require_free
from shared.config.sweep import SweepConfig
from shared.errors import TagsweepError
from shared.study.patience import patiently
from shared.study.study import open_study
from shared.study.tables.storage import open_storage
from shared.study.tables.study_storage import StudyStorage

CONFIG = SweepConfig()


def test_a_study_has_one_driver_at_a_time(
    postgres_url: str, storage: StudyStorage, study_name: str
) -> None:
    open_study(storage, study_name, CONFIG, "f")
    other = open_storage(postgres_url)
    with locked(storage, study_name, Lock.SEARCH):
        assert is_driven(other, study_name)
        with (
            pytest.raises(TagsweepError, match="being searched by another"),
            locked(other, study_name, Lock.SEARCH),
        ):
            pass
    assert not is_driven(other, study_name)
    with locked(other, study_name, Lock.SEARCH):
        pass
    other.remove_session()
    other.engine.dispose()


def test_an_ensemble_is_made_by_one_at_a_time_and_beside_a_search(
    storage: StudyStorage, study_name: str
) -> None:
    open_study(storage, study_name, CONFIG, "f")
    with (
        locked(storage, study_name, Lock.SEARCH),
        locked(storage, study_name, Lock.ENSEMBLE),
        pytest.raises(TagsweepError, match="its ensemble made by another tagsweep"),
        locked(storage, study_name, Lock.ENSEMBLE),
    ):
        pass
    assert not is_driven(storage, study_name)
    with locked(storage, study_name, Lock.ENSEMBLE):
        assert not is_driven(storage, study_name)


def test_what_will_be_wanted_later_can_be_required_to_be_free(
    storage: StudyStorage, study_name: str
) -> None:
    open_study(storage, study_name, CONFIG, "f")
    with locked(storage, study_name, Lock.SEARCH):
        require_free(storage, study_name, Lock.ENSEMBLE)
    with (
        locked(storage, study_name, Lock.ENSEMBLE),
        pytest.raises(LockedError, match="having its ensemble made by another"),
    ):
        require_free(storage, study_name, Lock.ENSEMBLE)


def test_a_driver_outlives_the_loss_of_its_connection(
    storage: StudyStorage, study_name: str
) -> None:
    open_study(storage, study_name, CONFIG, "f")
    with locked(storage, study_name, Lock.SEARCH) as hold:
        with storage.engine.begin() as other:
            other.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
            )
        assert not is_driven(storage, study_name)
        patiently(hold)
        hold()
        assert is_driven(storage, study_name)
    assert not is_driven(storage, study_name)
    with locked(storage, study_name, Lock.SEARCH):
        assert is_driven(storage, study_name)
