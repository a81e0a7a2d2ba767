import json
from pathlib import Path

import pytest

from shared import keras_settings
from shared.errors import InputError
from shared.keras_settings import read_backend


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(keras_settings, "find_spec", lambda name: name)
    return tmp_path / "keras.json"


def test_the_backend_is_what_keras_takes_it_from(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_backend() == "tensorflow"
    for rubbish in ("{", "[]"):
        settings.write_text(rubbish)
        assert read_backend() == "tensorflow"
    settings.write_text(json.dumps({"backend": "jax"}))
    assert read_backend() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert read_backend() == "tensorflow"


def test_what_heads_cannot_be_trained_on_is_told_with_its_place(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.write_text(json.dumps({"backend": "torch"}))
    with pytest.raises(InputError, match=f"tensorflow or jax, but {settings} says 'torch'"):
        read_backend()
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    with pytest.raises(InputError, match="but the environment variable KERAS_BACKEND says 'numpy'"):
        read_backend()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(keras_settings, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"'jax' .* not installed.* -c constraints.txt '.\[jax\]'"):
        read_backend()


def test_heads_are_trained_in_float32_alone(settings: Path) -> None:
    settings.write_text(json.dumps({"floatx": "float16"}))
    with pytest.raises(InputError, match=f"must be float32, but {settings} says 'float16'"):
        read_backend()
