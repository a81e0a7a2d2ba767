import csv
import io
from dataclasses import replace
from datetime import UTC, datetime

import keras
import numpy as np
import pytest

from orchestrator.predict import Prediction, predict, predict_vectors, write_csv
from shared.bundle import Bundle, Manifest
from shared.config import EncoderConfig
from shared.data.encoder import resolve_encoder
from shared.errors import InputError


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    keras.utils.set_random_seed(0)
    members = tuple(
        keras.Sequential([keras.Input((384,)), keras.layers.Dense(2, activation="sigmoid")])
        for _ in range(3)
    )
    encoder = EncoderConfig()
    manifest = Manifest(
        schema_version=1,
        created=datetime.now(UTC),
        versions={},
        label_names=("a", "b"),
        thresholds=(0.0, 1.1),
        encoder=encoder,
        encoder_revision=resolve_encoder(encoder).revision,
        params={},
        files={},
    )
    return Bundle(manifest, {}, members)


def test_the_probability_is_the_mean_of_the_members(bundle: Bundle) -> None:
    x = np.random.default_rng(0).normal(size=(5, 384)).astype(np.float32)
    expected = np.mean([member(x).numpy() for member in bundle.members], axis=0)
    np.testing.assert_allclose(predict_vectors(bundle.members, x), expected, rtol=1e-6)


def test_many_rows_are_predicted_in_order(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(50, 384)).astype(np.float32)
    whole = predict_vectors(bundle.members, x)
    monkeypatch.setattr("orchestrator.predict.BATCH_ROWS", 7)
    np.testing.assert_allclose(predict_vectors(bundle.members, x), whole, rtol=1e-5)


def test_decisions_follow_each_labels_threshold(bundle: Bundle) -> None:
    prediction = predict(bundle, ["one text", "another", "one text"])
    assert prediction.probabilities.shape == (3, 2)
    assert prediction.decisions.tolist() == [[True, False]] * 3
    np.testing.assert_array_equal(prediction.probabilities[0], prediction.probabilities[2])
    assert (prediction.probabilities[0] != prediction.probabilities[1]).all()


def test_another_version_of_the_encoder_is_refused(bundle: Bundle) -> None:
    other = bundle.manifest.model_copy(update={"encoder_revision": "0" * 64})
    with pytest.raises(InputError, match="needs encoder 'all-MiniLM-L6-v2' at 000000000000"):
        predict(replace(bundle, manifest=other), ["text"])


def test_texts_come_back_from_the_csv_as_they_were() -> None:
    texts = ['1+1, "quoted"\nline', "2 = 2", "here@"]
    prediction = Prediction(
        np.full((3, 1), 0.25, dtype=np.float32), np.array([[True], [False], [True]])
    )
    file = io.StringIO()
    write_csv(file, texts, ["a"], prediction)
    rows = list(csv.DictReader(io.StringIO(file.getvalue(), newline="")))
    assert [row["text"] for row in rows] == texts
    assert rows[0] == {"text": texts[0], "a_probability": "0.250000", "a": "1"}


def test_no_text_is_a_formula_to_a_spreadsheet() -> None:
    texts = ['=HYPERLINK("http://evil")', "+1", "-1", "@SUM(A1)", "\t=1", "plain = text"]
    n = len(texts)
    prediction = Prediction(np.zeros((n, 1), np.float32), np.zeros((n, 1), bool))
    file = io.StringIO()
    write_csv(file, texts, ["=a"], prediction)
    file.seek(0)
    header, *rows = csv.reader(file)
    assert header == ["text", "'=a_probability", "'=a"]
    assert [row[0] for row in rows] == [f"'{text}" for text in texts[:-1]] + texts[-1:]
