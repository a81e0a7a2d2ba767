from dataclasses import replace

import numpy as np
import pytest

from orchestrator.bundle.bundle import Bundle, read_bundle
from orchestrator.bundle.predict import (
    Predictor,
    load_predictor,
    predict,
    predict_embedded,
    predict_in_chunks,
    predict_vectors,
)
from shared.errors import InputError
from tests.tiny_bundle import tiny_members, write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    write_tiny_bundle(folder, thresholds=(0.0, 1.1))
    return read_bundle(folder)


@pytest.fixture(scope="module")
def predictor(bundle: Bundle) -> Predictor:
    return load_predictor(bundle)


def _vectors(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 384)).astype(np.float32)


def test_the_probability_is_the_mean_of_the_members(bundle: Bundle) -> None:
    x = _vectors(5)
    expected = np.mean([member(x).numpy() for member in tiny_members(3)], axis=0)
    np.testing.assert_allclose(predict_embedded(bundle, x).probabilities, expected, atol=1e-6)


def test_compiled_or_not_a_forward_pass_gives_the_same(bundle: Bundle) -> None:
    x = _vectors(5)
    compiled = predict_vectors(bundle.model.predict_on_batch, x)
    np.testing.assert_allclose(predict_vectors(bundle.model, x), compiled, atol=1e-6)


def test_many_rows_are_predicted_in_order(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    x = _vectors(50)
    whole = predict_embedded(bundle, x).probabilities
    monkeypatch.setattr("orchestrator.bundle.predict.BATCH_ROWS", 7)
    np.testing.assert_allclose(predict_embedded(bundle, x).probabilities, whole, rtol=1e-5)


def test_a_forward_pass_is_of_few_sizes_and_sums_are_no_more_than_1() -> None:
    sizes = []

    def forward(x: np.ndarray) -> np.ndarray:
        sizes.append(len(x))
        return x + np.float32(1e-6)

    ones = np.ones((100, 1), np.float32)
    for n in range(1, 100):
        found = predict_vectors(forward, ones[:n])
        assert found.shape == (n, 1)
        assert found.max() == 1
    assert set(sizes) == {1, 2, 4, 8, 16, 32, 64, 128}


def test_chunks_of_texts_come_in_order_and_how_far_they_are_is_told(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["one text", "another", "a third"]
    whole = predict(predictor, texts).probabilities
    monkeypatch.setattr("orchestrator.bundle.predict.CHUNK", 2)
    progress: list[tuple[int, int]] = []
    chunks = list(predict_in_chunks(predictor, texts, lambda *one: progress.append(one)))
    assert progress == [(0, 3), (2, 3), (3, 3)]
    parts = [prediction.probabilities for prediction in chunks]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_decisions_follow_each_labels_threshold(predictor: Predictor) -> None:
    prediction = predict(predictor, ["one text", "another", "one text"])
    assert prediction.probabilities.shape == (3, 2)
    assert prediction.decisions.tolist() == [[True, False]] * 3
    np.testing.assert_array_equal(prediction.probabilities[0], prediction.probabilities[2])
    assert (prediction.probabilities[0] != prediction.probabilities[1]).all()


def test_another_version_of_the_encoder_is_refused(bundle: Bundle) -> None:
    (encoder,) = bundle.manifest.encoders
    other = bundle.manifest.model_copy(
        update={"encoders": (encoder.model_copy(update={"revision": "0" * 64}),)}
    )
    with pytest.raises(InputError, match="needs encoder 'all-MiniLM-L6-v2' at 000000000000"):
        load_predictor(replace(bundle, manifest=other))
