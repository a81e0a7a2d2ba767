from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from shared.config.sections import EncoderConfig
from shared.encoding.backends import available
from shared.encoding.encode import count_tokens, encode, encode_sorted, length_limit
from shared.encoding.encoder import resolve_encoder
from shared.encoding.load import load_encoder
from tests.tiny_encoder import write_tiny_encoder


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


def test_a_static_encoder_of_model2vec_embeds_texts_of_any_length(tmp_path: Path) -> None:
    name = str(write_tiny_encoder(tmp_path / "static"))
    encoder = resolve_encoder(EncoderConfig(name=name, prompt="on: "))
    model = load_encoder(encoder)
    texts = ["a text", "word " * 5000]
    vectors = encode(model, encoder, texts)
    assert vectors.shape == (2, 16)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, model.encode(texts, prompt="on: "), atol=1e-6)
    assert length_limit(model) is None
    assert available(model) == []
