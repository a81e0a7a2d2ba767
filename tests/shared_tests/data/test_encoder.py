import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.config import EncoderConfig
from shared.data.encoder import count_truncated, encode, load_encoder, resolve_encoder
from shared.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_packaged_encoder_is_found_by_both_its_names() -> None:
    short = resolve_encoder(EncoderConfig())
    long = resolve_encoder(EncoderConfig(name="sentence-transformers/all-MiniLM-L6-v2"))
    assert short.location == long.location
    assert short.revision == long.revision


def test_finding_an_encoder_loads_no_library() -> None:
    code = (
        "import sys; from shared.config import EncoderConfig;"
        "from shared.data.encoder import resolve_encoder; resolve_encoder(EncoderConfig());"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folders_revision_follows_its_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    config = EncoderConfig(name=str(tmp_path))
    first = resolve_encoder(config).revision
    assert resolve_encoder(config).revision == first
    (tmp_path / "config.json").write_text("{ }")
    assert resolve_encoder(config).revision != first


def test_an_encoder_of_the_hub_is_known_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "models--sentence-transformers--some-encoder"
    snapshot = cached / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    encoder = resolve_encoder(EncoderConfig(name="some-encoder"))
    assert encoder.location == "sentence-transformers/some-encoder"
    assert encoder.revision == COMMIT
    (cached / "refs" / "main").write_text("f" * 40)
    assert resolve_encoder(EncoderConfig(name="some-encoder"), COMMIT).revision == COMMIT


@pytest.mark.parametrize("name", ["no-such-encoder", "no-one/no-such-encoder", "a/b/c", "x y"])
def test_an_unknown_encoder_is_refused_with_the_ways_to_name_one(name: str) -> None:
    with pytest.raises(InputError, match=r"There is no encoder .* tagsweep\[offline\]"):
        resolve_encoder(EncoderConfig(name=name))


def test_long_texts_are_counted_with_their_prompt() -> None:
    encoder = resolve_encoder(EncoderConfig(max_seq_length=8))
    model = load_encoder(encoder)
    texts = ["short", "one two three four five six", "one two three four five six seven"]
    assert count_truncated(model, encoder, texts) == 1
    prompted = resolve_encoder(EncoderConfig(max_seq_length=8, prompt="query "))
    assert count_truncated(model, prompted, texts) == 2


def test_a_prompt_and_a_shorter_length_change_the_vectors() -> None:
    texts = ["the quick brown fox jumps over the lazy dog"]
    plain, short, prompted = (
        encode(load_encoder(encoder), encoder, texts)
        for encoder in map(
            resolve_encoder,
            (
                EncoderConfig(),
                EncoderConfig(max_seq_length=4),
                EncoderConfig(prompt="query: "),
            ),
        )
    )
    assert abs(plain - short).max() > 0.01
    assert abs(plain - prompted).max() > 0.01


def test_a_length_beyond_the_encoders_is_refused() -> None:
    encoder = resolve_encoder(EncoderConfig(max_seq_length=10_000))
    with pytest.raises(InputError, match="must be at most 512 .* but is 10000"):
        load_encoder(encoder)


def test_a_copied_encoder_is_the_same_encoder(tmp_path: Path) -> None:
    packaged = resolve_encoder(EncoderConfig())
    shutil.copytree(packaged.location, tmp_path / "copy")
    copy = resolve_encoder(EncoderConfig(name=str(tmp_path / "copy")))
    assert copy.revision == packaged.revision
