from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from shared.config.sections import EncoderConfig
from shared.encoding import backends
from shared.encoding.backends import Choice, available, choose_backend, least_cosine
from shared.encoding.encode import encode
from shared.encoding.encoder import Encoder, resolve_encoder
from shared.encoding.load import load_encoder
from shared.errors import InputError

TEXTS = [f"text {i} has " + "many " * (i % 7) + "words" for i in range(48)]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return resolve_encoder(EncoderConfig())


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Give backends other than torch these seconds, and exact vectors less the error they have."""
    taken_s = {"torch": 10.0}
    error = {"torch": 0.0, "torch-bf16": 0.0, "openvino": 0.0, "openvino-bf16": 0.2}

    def encode_timed(
        _model: SentenceTransformer, encoder: Encoder, texts: Sequence[str]
    ) -> tuple[np.ndarray, float]:
        noise = np.random.default_rng(0).normal(size=(len(texts), 8))
        vectors = np.eye(8)[np.arange(len(texts)) % 8] + error[encoder.backend] * noise
        return vectors.astype(np.float32), taken_s[encoder.backend]

    monkeypatch.setattr(backends, "_encode_timed", encode_timed)
    monkeypatch.setattr(
        backends, "available", lambda _: [name for name in error if name in taken_s][1:]
    )
    monkeypatch.setattr(backends, "load_encoder", lambda encoder: encoder.backend)
    return taken_s


def test_auto_takes_the_fastest_that_agrees(encoder: Encoder, speeds: dict[str, float]) -> None:
    speeds |= {"torch-bf16": 5.0, "openvino": 4.0, "openvino-bf16": 1.0}
    choice, model = choose_backend(encoder, TEXTS)
    assert choice == Choice("openvino", 2.5, pytest.approx(1.0), 3)
    assert model == "openvino"
    assert str(choice) == "openvino: 2.5 times float32, cosine at least 1.0000 on 3 texts"


def test_auto_stays_with_float32_where_nothing_is_faster(
    encoder: Encoder, speeds: dict[str, float]
) -> None:
    speeds |= {"torch-bf16": 11.0}
    assert choose_backend(encoder, TEXTS)[0] == Choice("torch", n_sampled=3)


def test_auto_measures_nothing_for_what_float32_does_in_a_minute(
    encoder: Encoder, speeds: dict[str, float]
) -> None:
    speeds |= {"torch": 3.0, "torch-bf16": 1.0}
    choice, _ = choose_backend(encoder, TEXTS)
    assert choice == Choice("torch")
    assert str(choice) == "torch"


def test_a_named_backend_must_agree(encoder: Encoder, speeds: dict[str, float]) -> None:
    speeds |= {"openvino": 20.0, "openvino-bf16": 1.0}
    assert choose_backend(replace(encoder, backend="openvino"), TEXTS)[0].speedup == 0.5
    with pytest.raises(InputError, match="must agree .* cosine at least 0.999, but .* 'torch'"):
        choose_backend(replace(encoder, backend="openvino-bf16"), TEXTS)


def test_a_backend_that_cannot_compute_an_encoder_is_passed_over(
    encoder: Encoder, speeds: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(encoder: Encoder) -> str:
        if encoder.backend == "openvino":
            raise InputError("cannot")
        return encoder.backend

    monkeypatch.setattr(backends, "load_encoder", refuse)
    speeds |= {"openvino": 1.0, "torch-bf16": 5.0}
    assert choose_backend(encoder, TEXTS)[0].backend == "torch-bf16"


@pytest.mark.parametrize("backend", ["torch", "openvino-int8"])
def test_what_needs_not_agree_is_not_measured(
    encoder: Encoder, speeds: dict[str, float], backend: str
) -> None:
    speeds.clear()
    assert choose_backend(replace(encoder, backend=backend), TEXTS) == (Choice(backend), backend)


def test_whatever_this_machine_has_agrees_with_float32(encoder: Encoder) -> None:
    model = load_encoder(encoder)
    expected = encode(model, encoder, TEXTS)
    names = available(model)
    assert "openvino" in names
    for name in names:
        other = replace(encoder, backend=name, batch_tokens=32)
        vectors = encode(load_encoder(other), other, TEXTS)
        assert vectors.dtype == np.float32
        assert least_cosine(vectors, expected) > backends.LOSSLESS_COSINE
