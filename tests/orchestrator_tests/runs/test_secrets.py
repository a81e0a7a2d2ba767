from pathlib import Path

import pytest

from orchestrator.runs.secrets import read_secret
from shared.errors import InputError

NAME = "TAGSWEEP_STORAGE"


def test_a_secret_comes_from_the_environment_before_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_secret(NAME) is None
    (tmp_path / "url").write_text("postgresql://of-the-file\n")
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "url"))
    assert read_secret(NAME) == "postgresql://of-the-file"
    monkeypatch.setenv(NAME, "postgresql://of-the-variable")
    assert read_secret(NAME) == "postgresql://of-the-variable"


def test_a_file_that_is_missing_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "url"))
    with pytest.raises(InputError, match="STORAGE_FILE names .*/url, which cannot be read"):
        read_secret(NAME)
