import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from shared.data.backends import available
from shared.data.encoder import (
    count_tokens,
    encode,
    encode_sorted,
    find_again,
    length_limit,
    load_encoder,
    resolve_encoder,
)
from shared.errors import InputError
from shared.sections import EncoderConfig
from tests.tiny_encoder import write_tiny_encoder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_packaged_encoder_is_found_by_both_its_names() -> None:
    short = resolve_encoder(EncoderConfig())
    long = resolve_encoder(EncoderConfig(name="sentence-transformers/all-MiniLM-L6-v2"))
    assert short.location == long.location
    assert short.revision == long.revision


def test_finding_an_encoder_loads_no_library() -> None:
    code = (
        "import sys; from shared.sections import EncoderConfig;"
        "from shared.data.encoder import resolve_encoder; resolve_encoder(EncoderConfig());"
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


def test_tokens_are_counted_with_the_prompt_and_beyond_what_is_read() -> None:
    encoder = resolve_encoder(EncoderConfig(max_seq_length=8))
    model = load_encoder(encoder)
    texts = ["short", "one two three four five six", "one two three four five six seven"]
    assert count_tokens(model, encoder, texts).tolist() == [3, 8, 9]
    prompted = resolve_encoder(EncoderConfig(max_seq_length=8, prompt="query "))
    assert count_tokens(model, prompted, texts).tolist() == [4, 9, 10]
    assert length_limit(model) == 8


def test_a_batch_holds_as_many_tokens_as_it_may_and_at_least_one_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = resolve_encoder(EncoderConfig(max_seq_length=8, batch_tokens=16))
    model = load_encoder(encoder)
    texts = ["one two three four five six seven"] * 3 + ["one two"] * 5
    expected, batches = model.encode(texts), []

    def record(batch: list[str], **options: Any) -> np.ndarray:
        batches.append(len(batch))
        return SentenceTransformer.encode(model, batch, **options)

    monkeypatch.setattr(model, "encode", record)
    vectors = encode_sorted(model, encoder, texts, count_tokens(model, encoder, texts))
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert batches == [2, 2, 4]
    encode_sorted(model, replace(encoder, batch_tokens=1), texts[:2], np.array([9, 9]))
    assert batches[3:] == [1, 1]


def test_vectors_come_in_the_order_of_the_texts() -> None:
    encoder = resolve_encoder(EncoderConfig(batch_tokens=8))
    model = load_encoder(encoder)
    texts = ["a", "three words here", "one two three four five", "b c"]
    np.testing.assert_allclose(encode(model, encoder, texts), model.encode(texts), atol=1e-5)


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


@pytest.fixture
def static_encoder(tmp_path: Path) -> Path:
    return write_tiny_encoder(tmp_path / "static")


def test_a_static_encoder_of_model2vec_embeds_texts_of_any_length(static_encoder: Path) -> None:
    encoder = resolve_encoder(EncoderConfig(name=str(static_encoder), prompt="on: "))
    model = load_encoder(encoder)
    texts = ["a text", "word " * 5000]
    vectors = encode(model, encoder, texts)
    assert vectors.shape == (2, 16)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, model.encode(texts, prompt="on: "), atol=1e-6)
    assert length_limit(model) is None
    assert available(model) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_seq_length": 8}, "max_seq_length must be null .* but is 8"),
        ({"backend": "openvino"}, "needs a transformer, but .* choose 'torch' or 'auto'"),
    ],
)
def test_what_a_static_encoder_cannot_do_is_refused(
    static_encoder: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_encoder(resolve_encoder(EncoderConfig(name=str(static_encoder), **settings)))


def test_a_copied_encoder_is_the_same_encoder(tmp_path: Path) -> None:
    packaged = resolve_encoder(EncoderConfig())
    shutil.copytree(packaged.location, tmp_path / "copy")
    copy = resolve_encoder(EncoderConfig(name=str(tmp_path / "copy")))
    assert copy.revision == packaged.revision
