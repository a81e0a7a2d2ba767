from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from orchestrator.data import embeddings
from orchestrator.data.embeddings import Embeddings, embed
from orchestrator.data.vectors import (
    content_of,
    facts_path,
    is_sound,
    read_facts,
    unsound_rows,
    vectors_path,
    write_facts,
)
from shared.config.sections import EncoderConfig
from shared.encoding.chunks import Chunk, Encoded, Encoding, encoding_here
from shared.encoding.encoder import Encoder, resolve_encoder
from shared.errors import TagsweepError
from tests.tiny_encoder import write_tiny_encoder

TEXTS = ["b", "a longer text", "b", "one more", "the longest text of them all", "a"]
UNSOUND = [[np.nan, 1, 1], [1, np.inf, 1], [1, 1, -np.inf], [0, 0, 0], [-0.0, 0, 0]]
Harm = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny", 3)
    return resolve_encoder(EncoderConfig(name=str(folder)))


def _embed(cache: Path, encoder: Encoder, harm: Harm | None = None) -> Embeddings:
    """Embed the texts, one a chunk, by an encoder that harms the vector of `one more`."""

    @contextmanager
    def harming(encoder: Encoder, chunks: Sequence[Chunk]) -> Iterator[Encoding]:
        with encoding_here(encoder, chunks) as (loaded, encoded):
            yield (
                loaded,
                (
                    (i, Encoded(harm(one.vectors), 0) if chunks[i] == ["one more"] else one)
                    for i, one in encoded
                ),
            )

    return embed(TEXTS, encoder, cache, lambda *_: None, harming if harm else encoding_here)


@pytest.fixture(autouse=True)
def one_text_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "CHUNK", 1)


@pytest.mark.parametrize("row", UNSOUND, ids=str)
def test_what_is_no_vector_is_known(row: list[float]) -> None:
    vectors = np.ones((2500, 3), np.float32)
    assert is_sound(vectors)
    vectors[2400] = row
    assert unsound_rows(vectors).tolist() == [2400]
    assert not is_sound(vectors)
    assert is_sound(np.float32([[1e-38, 0, 0], [3e38, 3e38, 3e38]]))


@pytest.mark.parametrize("row", UNSOUND, ids=str)
def test_an_encoder_that_gives_no_vector_is_refused_and_nothing_is_cached(
    tmp_path: Path, encoder: Encoder, row: list[float]
) -> None:
    said = r"tiny' must give .* does not for the text of row 4 .* computed with torch\. Set"
    with pytest.raises(TagsweepError, match=said):
        _embed(tmp_path, encoder, lambda _: np.float32([row]))
    assert not list(tmp_path.glob("*[!l].npy"))
    assert is_sound(_embed(tmp_path, encoder).vectors)


@pytest.mark.parametrize("row", UNSOUND, ids=str)
def test_cached_vectors_that_are_none_are_made_anew_also_when_their_facts_vouch_for_them(
    tmp_path: Path, encoder: Encoder, row: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    made = _embed(tmp_path, encoder)
    expected, path = np.array(made.vectors), vectors_path(tmp_path, made.key)
    np.save(path, np.vstack([expected[:-1], np.float32([row])]))
    _vouch(tmp_path, made.key)
    np.testing.assert_array_equal(_embed(tmp_path, encoder).vectors, expected)
    assert "not all vectors and are made anew" in caplog.text


def test_a_cache_whose_bits_have_changed_is_made_anew(
    tmp_path: Path, encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    made = _embed(tmp_path, encoder)
    expected, path = np.array(made.vectors), vectors_path(tmp_path, made.key)
    np.save(path, expected[::-1])
    np.testing.assert_array_equal(_embed(tmp_path, encoder).vectors, expected)
    assert "are torn and made anew" in caplog.text


def test_chunks_that_an_interruption_left_without_vectors_are_made_again(
    tmp_path: Path, encoder: Encoder
) -> None:
    """As a power cut does: the list of what is done is there, and the rows are not."""
    with pytest.raises(TagsweepError):
        _embed(tmp_path, encoder, lambda vectors: vectors * np.nan)
    (partial,) = tmp_path.glob("*.partial.npy")
    vectors = np.load(partial)
    assert vectors[0].any()
    vectors[0] = 0
    np.save(partial, vectors)
    np.testing.assert_array_equal(
        _embed(tmp_path, encoder).vectors, _embed(tmp_path / "whole", encoder).vectors
    )


def _vouch(cache: Path, key: str) -> None:
    """Have the facts say of the file what it is now."""
    facts, content = read_facts(facts_path(cache, key)), content_of(vectors_path(cache, key))
    assert facts
    write_facts(facts_path(cache, key), replace(facts, **content._asdict()))
