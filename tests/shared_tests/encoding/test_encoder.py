import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.config.sections import EncoderConfig
from shared.encoding.encoder import find_again, resolve_encoder
from shared.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_packaged_encoder_is_found_by_both_its_names() -> None:
    short = resolve_encoder(EncoderConfig())
    long = resolve_encoder(EncoderConfig(name="sentence-transformers/all-MiniLM-L6-v2"))
    assert short.location == long.location
    assert short.revision == long.revision


def test_finding_an_encoder_loads_no_library() -> None:
    code = (
        "import sys; from shared.config.sections import EncoderConfig;"
        "from shared.encoding.encoder import resolve_encoder; resolve_encoder(EncoderConfig());"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folders_revision_follows_its_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    config = EncoderConfig(name=str(tmp_path))
    first = resolve_encoder(config).revision
    assert resolve_encoder(config).revision == first
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "config.json.metadata").write_text("when it was downloaded")
    assert resolve_encoder(config).revision == first
    (tmp_path / "config.json").write_text("{ }")
    assert resolve_encoder(config).revision != first


def _keep_as_the_hub_does(cache: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an encoder where the hub's library keeps what it has downloaded."""
    cached = cache / f"models--sentence-transformers--{name}"
    snapshot = cached / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(cache))
    return cached


def test_what_must_be_of_a_commit_is_not_the_packaged_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _keep_as_the_hub_does(tmp_path, "all-MiniLM-L6-v2", monkeypatch)
    packaged = resolve_encoder(EncoderConfig())
    of_hub = resolve_encoder(EncoderConfig(), COMMIT)
    assert (of_hub.revision, of_hub.location) == (COMMIT, "sentence-transformers/all-MiniLM-L6-v2")
    assert find_again(of_hub) == of_hub
    assert find_again(packaged) == packaged != of_hub


def test_an_encoder_of_the_hub_is_known_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = _keep_as_the_hub_does(tmp_path, "some-encoder", monkeypatch)
    encoder = resolve_encoder(EncoderConfig(name="some-encoder"))
    assert encoder.location == "sentence-transformers/some-encoder"
    assert encoder.revision == COMMIT
    (cached / "refs" / "main").write_text("f" * 40)
    assert resolve_encoder(EncoderConfig(name="some-encoder"), COMMIT).revision == COMMIT


@pytest.mark.parametrize("name", ["no-such-encoder", "no-one/no-such-encoder", "a/b/c", "x y"])
def test_an_unknown_encoder_is_refused_with_the_ways_to_name_one(name: str) -> None:
    with pytest.raises(InputError, match=r"There is no encoder .*constraints.txt '.\[offline\]'"):
        resolve_encoder(EncoderConfig(name=name))


def test_a_copied_encoder_is_the_same_encoder(tmp_path: Path) -> None:
    packaged = resolve_encoder(EncoderConfig())
    shutil.copytree(packaged.location, tmp_path / "copy")
    copy = resolve_encoder(EncoderConfig(name=str(tmp_path / "copy")))
    assert copy.revision == packaged.revision
