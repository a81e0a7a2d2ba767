from shared.config import SweepConfig
from workers import WorkerSpec


def test_a_spec_does_not_show_its_storage() -> None:
    spec = WorkerSpec("postgresql://u:s3cret@h/db", "study", "f", ("a",), SweepConfig(), "store")
    assert "s3cret" not in repr(spec)
