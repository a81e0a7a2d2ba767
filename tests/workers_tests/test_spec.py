from shared.config.sweep import SweepConfig
from shared.store import Store
from workers import WorkerSpec


def test_a_spec_shows_neither_its_storage_nor_a_password_of_its_store() -> None:
    url, store = "postgresql://u:s3cret@h/db", Store("sftp://u:s3cret@h/folder")
    spec = WorkerSpec(url, "study", "f", ("a",), SweepConfig(), store, "uuid")
    assert "s3cret" not in repr(spec)
