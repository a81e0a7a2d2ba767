from dataclasses import fields
from pathlib import Path

from orchestrator.runs.paths import RunPaths


def test_every_file_of_a_run_lies_in_its_directory_under_a_name_of_its_own() -> None:
    paths = RunPaths(Path("run"))
    names = [name for name, value in vars(RunPaths).items() if isinstance(value, property)]
    found = [getattr(paths, name) for name in names]
    assert all(Path("run") in path.parents for path in found)
    assert len(set(found)) == len(found) > 5
    assert [field.name for field in fields(RunPaths)] == ["root"]
