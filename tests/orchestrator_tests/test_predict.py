import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.predict import (
    Prediction,
    Predictor,
    load_predictor,
    predict,
    predict_embedded,
    predict_in_chunks,
    predict_vectors,
    write_csv,
)
from shared.bundle import Bundle, read_bundle
from shared.decisions.take import take
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


def _only(prediction: Prediction, start: int, stop: int) -> Prediction:
    rows = slice(start, stop)
    return Prediction(prediction.probabilities[rows], prediction.decisions[rows])


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
    monkeypatch.setattr("orchestrator.predict.BATCH_ROWS", 7)
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


def test_chunks_of_texts_come_in_order(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["one text", "another", "a third"]
    whole = predict(predictor, texts).probabilities
    monkeypatch.setattr("orchestrator.predict.BATCH_ROWS", 2)
    chunks = list(predict_in_chunks(predictor, texts))
    assert [list(chunk) for chunk, _ in chunks] == [texts[:2], texts[2:]]
    parts = [prediction.probabilities for _, prediction in chunks]
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


def test_texts_come_back_from_the_csv_as_they_were() -> None:
    texts = ['1+1, "quoted"\nline', "2 = 2", "here@"]
    prediction = Prediction(
        np.full((3, 1), 0.25, dtype=np.float32), np.array([[True], [False], [True]])
    )
    file = io.StringIO()
    write_csv(
        file, [(texts[:1], _only(prediction, 0, 1)), (texts[1:], _only(prediction, 1, 3))], ["a"]
    )
    rows = list(csv.DictReader(io.StringIO(file.getvalue(), newline="")))
    assert [row["text"] for row in rows] == texts
    assert rows[0] == {"text": texts[0], "a_probability": "0.250000", "a": "1"}


def test_a_class_has_the_column_that_it_was_learnt_from() -> None:
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32)
    file = io.StringIO()
    prediction = Prediction(probabilities, take(probabilities, None))
    write_csv(file, [(["x", "y"], prediction)], ["=a", "b"], "topic")
    file.seek(0)
    assert list(csv.reader(file)) == [
        ["text", "'=a_probability", "b_probability", "topic"],
        ["x", "0.250000", "0.750000", "b"],
        ["y", "0.500000", "0.500000", "'=a"],
    ]


def test_no_text_is_a_formula_to_a_spreadsheet() -> None:
    texts = ['=HYPERLINK("http://evil")', "+1", "-1", "@SUM(A1)", "\t=1", "plain = text"]
    n = len(texts)
    prediction = Prediction(np.zeros((n, 1), np.float32), np.zeros((n, 1), bool))
    file = io.StringIO()
    write_csv(file, [(texts, prediction)], ["=a"])
    file.seek(0)
    header, *rows = csv.reader(file)
    assert header == ["text", "'=a_probability", "'=a"]
    assert [row[0] for row in rows] == [f"'{text}" for text in texts[:-1]] + texts[-1:]
