import subprocess
import sys
from pathlib import Path

import pytest

from tests.foreign import enter_foreign_folder


def test_our_code_runs_wherever_the_module_is_run(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = enter_foreign_folder(tmp_path, monkeypatch)
    (folder / "orchestrator" / "__init__.py").unlink()
    (folder / "orchestrator").rmdir()
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    command = [sys.executable, "-m", "orchestrator", "status", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(folder.rglob("ran-*"))
