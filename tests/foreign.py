"""Lay folders about that have the names of our packages, and note when they are imported."""

from pathlib import Path

import pytest

NOTE = "import os; open(os.path.join(os.path.dirname(__file__), f'ran-{os.getpid()}'), 'w').close()"
NAMES = ("shared", "orchestrator", "keras")


def enter_foreign_folder(parent: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go into a new folder with foreign code; `workers` there is a folder that is no package."""
    folder = parent / "elsewhere"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(NOTE)
    (folder / "workers").mkdir()
    monkeypatch.chdir(folder)
    return folder
