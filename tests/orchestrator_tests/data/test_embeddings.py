import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from orchestrator.data import embeddings
from orchestrator.data.embeddings import Embeddings, embed, embeddings_key, encode_texts
from shared.config.sections import EncoderConfig
from shared.encoding import chunks
from shared.encoding.backends import Choice
from shared.encoding.chunks import Chunk, Encoded, Encoding, encode_chunk, encoding_here
from shared.encoding.encoder import Encoder, resolve_encoder
from shared.encoding.load import load_encoder

TEXTS = ["b", "a longer text", "b", "one more", "the longest text of them all", "a"]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return resolve_encoder(EncoderConfig())


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the texts that are really encoded, in the order in which they are."""
    seen: list[str] = []

    def record(model: SentenceTransformer, encoder: Encoder, chunk: Chunk) -> Encoded:
        seen.extend(chunk)
        return encode_chunk(model, encoder, chunk)

    monkeypatch.setattr(chunks, "encode_chunk", record)
    monkeypatch.setattr(embeddings, "CHUNK", 2)
    return seen


def ignore(_done: int, _total: int) -> None:
    pass


def test_vectors_are_the_encoders_in_the_order_of_the_texts(
    tmp_path: Path, encoder: Encoder
) -> None:
    made = embed(TEXTS, encoder, tmp_path, ignore)
    expected = load_encoder(encoder).encode(TEXTS)
    assert made.vectors.dtype == np.float32
    assert isinstance(made.vectors, np.memmap)
    np.testing.assert_allclose(made.vectors, expected, atol=1e-5)
    assert (made.n_truncated, made.max_seq_length) == (0, 256)


def test_each_distinct_text_is_encoded_once_the_longest_first(
    tmp_path: Path, encoder: Encoder, encoded: list[str]
) -> None:
    embed([*TEXTS, "counterintuitively"], encoder, tmp_path, ignore)
    assert encoded[:3] == ["the longest text of them all", "counterintuitively", "a longer text"]
    assert encoded[3:] == ["one more", "a", "b"]


def test_what_is_cached_is_not_made_again(
    tmp_path: Path, encoder: Encoder, encoded: list[str]
) -> None:
    first = embed(TEXTS, encoder, tmp_path, ignore)
    encoded.clear()
    again = embed(TEXTS, encoder, tmp_path, ignore)
    assert encoded == []
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert {path.name for path in tmp_path.iterdir()} == {f"{first.key}.npy", f"{first.key}.json"}


def test_a_full_cache_loads_no_library(tmp_path: Path, encoder: Encoder) -> None:
    embed(["a"], encoder, tmp_path, ignore)
    code = (
        "import sys; from pathlib import Path; from shared.config.sections import EncoderConfig;"
        "from orchestrator.data.embeddings import embed;"
        "from shared.encoding.encoder import resolve_encoder;"
        "embed(['a'], resolve_encoder(EncoderConfig()), Path(sys.argv[1]), lambda *_: 1 / 0);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == 0


def test_an_interrupted_call_goes_on_at_its_last_chunk(
    tmp_path: Path, encoder: Encoder, encoded: list[str]
) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(TEXTS, encoder, tmp_path, interrupt)
    encoded.clear()
    calls: list[tuple[int, int]] = []
    made = embed(TEXTS, encoder, tmp_path, lambda *call: calls.append(call))
    assert encoded == ["b"]
    assert calls == [(4, 5), (5, 5)]
    np.testing.assert_allclose(made.vectors, load_encoder(encoder).encode(TEXTS), atol=1e-5)


@contextmanager
def backwards(encoder: Encoder, chunks: Sequence[Chunk]) -> Iterator[Encoding]:
    """Encode as several processes do: in another order than the one of the chunks."""
    with encoding_here(encoder, chunks) as (loaded, encoded):
        yield loaded, reversed(list(encoded))


def test_a_second_process_waits_for_the_vectors_of_the_first(
    tmp_path: Path, encoder: Encoder, encoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPoolExecutor(1) as pool:
        others: list[Future[Embeddings]] = []

        def start_another(done: int, _total: int) -> None:
            if done == 2:
                others.append(pool.submit(embed, TEXTS, encoder, tmp_path, ignore))
                deadline = time.monotonic() + 20
                while "waits for it" not in caplog.text and time.monotonic() < deadline:
                    time.sleep(0.05)

        made = embed(TEXTS, encoder, tmp_path, start_another)
        np.testing.assert_array_equal(others[0].result().vectors, made.vectors)
    assert sorted(encoded) == sorted(set(TEXTS))


def test_chunks_may_get_done_in_any_order_and_none_is_made_again(
    tmp_path: Path, encoder: Encoder, encoded: list[str]
) -> None:
    with pytest.raises(ZeroDivisionError):
        embed(TEXTS, encoder, tmp_path, lambda done, _: 1 / (done - 3), backwards)
    encoded.clear()
    calls: list[tuple[int, int]] = []
    made = embed(TEXTS, encoder, tmp_path, lambda *call: calls.append(call))
    assert encoded == ["the longest text of them all", "a longer text"]
    assert calls == [(3, 5), (5, 5)]
    np.testing.assert_allclose(made.vectors, load_encoder(encoder).encode(TEXTS), atol=1e-5)


def test_texts_that_are_cut_are_counted_over_an_interruption_too(
    tmp_path: Path, encoded: list[str]
) -> None:
    short = resolve_encoder(EncoderConfig(max_seq_length=4))
    with pytest.raises(ZeroDivisionError):
        embed(TEXTS, short, tmp_path, lambda done, _total: 1 / (2 - done))
    encoded.clear()
    assert embed(TEXTS, short, tmp_path, ignore).n_truncated == 2
    assert encoded == ["one more", "a", "b"]


def test_a_call_that_has_all_chunks_makes_the_last_one_again(
    tmp_path: Path, encoder: Encoder, encoded: list[str]
) -> None:
    with pytest.raises(ZeroDivisionError):
        embed(TEXTS, encoder, tmp_path, lambda done, total: 1 / (total - done))
    encoded.clear()
    made = embed(TEXTS, encoder, tmp_path, ignore)
    assert encoded == ["b"]
    np.testing.assert_allclose(made.vectors, load_encoder(encoder).encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize("suffix", ["partial.json", "partial.npy"])
def test_a_damaged_partial_file_is_thrown_away(
    tmp_path: Path, encoder: Encoder, encoded: list[str], suffix: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        embed(TEXTS, encoder, tmp_path, lambda done, _total: 1 / (4 - done))
    key = embeddings_key(TEXTS, encoder)
    (tmp_path / f"{key}.{suffix}").write_text("rubbish")
    encoded.clear()
    embed(TEXTS, encoder, tmp_path, ignore)
    assert len(encoded) == 5


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x93NUMPY"])
def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, encoder: Encoder, encoded: list[str], content: bytes
) -> None:
    made = embed(TEXTS, encoder, tmp_path, ignore)
    expected = np.array(made.vectors)
    encoded.clear()
    (tmp_path / f"{made.key}.npy").write_bytes(content)
    np.testing.assert_array_equal(embed(TEXTS, encoder, tmp_path, ignore).vectors, expected)
    assert len(encoded) == 5


def test_the_key_follows_texts_encoder_and_settings(encoder: Encoder) -> None:
    others = [EncoderConfig(prompt="query: "), EncoderConfig(max_seq_length=64)]
    keys = {embeddings_key(TEXTS, other) for other in [encoder, *map(resolve_encoder, others)]}
    keys |= {embeddings_key(TEXTS[::-1], encoder), embeddings_key(["b a"], encoder)}
    keys |= {embeddings_key(["b", "a"], encoder)}
    assert len(keys) == 6
    quantised = resolve_encoder(EncoderConfig(backend="openvino-int8"))
    assert embeddings_key(TEXTS, quantised) not in keys


@pytest.mark.parametrize("backend", ["torch", "torch-bf16", "openvino", "openvino-bf16"])
def test_backends_that_agree_have_one_key_with_any_batches(encoder: Encoder, backend: str) -> None:
    other = resolve_encoder(EncoderConfig(backend=backend, batch_tokens=64))
    assert embeddings_key(TEXTS, other) == embeddings_key(TEXTS, encoder)


def test_the_cache_says_what_was_chosen_and_is_taken_whatever_is_chosen_later(
    tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(encoder: Encoder, _texts: Sequence[str]) -> tuple[Choice, SentenceTransformer]:
        chosen = replace(encoder, backend="torch-bf16")
        return Choice("torch-bf16", 2.5, 0.9999, 5), load_encoder(chosen)

    monkeypatch.setattr(chunks, "choose_backend", choose)
    made = embed(TEXTS, encoder, tmp_path, ignore)
    facts = json.loads((tmp_path / f"{made.key}.json").read_text())
    assert (facts["backend"], facts["speedup"], facts["cosine_min"]) == ("torch-bf16", 2.5, 0.9999)
    monkeypatch.delattr(chunks, "choose_backend")
    np.testing.assert_array_equal(embed(TEXTS, encoder, tmp_path, ignore).vectors, made.vectors)


def test_texts_to_predict_are_encoded_without_a_cache(tmp_path: Path, encoder: Encoder) -> None:
    vectors = encode_texts(TEXTS, encoder, load_encoder(encoder))
    np.testing.assert_allclose(vectors, embed(TEXTS, encoder, tmp_path, ignore).vectors, atol=1e-5)
