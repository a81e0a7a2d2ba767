import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from starlette.testclient import TestClient

from orchestrator.bundle.predict import Prediction
from orchestrator.serving.app import MAX_BODY_BYTES, create_app
from orchestrator.serving.messages import MAX_CHARACTERS, MAX_TEXTS
from shared.training.params import Task

CLASSES: Task = "multiclass"
CLASS = np.array([[False, True]])


def _predict(texts: Sequence[str]) -> Prediction:
    if "bug" in texts:
        raise RuntimeError("a bug")
    probabilities = np.array([[len(text) / 1000, 0.5] for text in texts], dtype=np.float32)
    return Prediction(probabilities, probabilities >= 0.004)


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = create_app(_predict, ("a", "b"), "multilabel")
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_each_text_gets_each_label_in_order(client: TestClient) -> None:
    answer = client.post("/predict", json={"texts": ["xyz", "wxyz\0", "xyz"]})
    assert answer.status_code == 200
    first, second, third = answer.json()["predictions"]
    assert first == third
    assert first["a"] == {"probability": pytest.approx(0.003), "decision": False}
    assert second["a"] == {"probability": pytest.approx(0.005), "decision": True}
    assert second["b"] == {"probability": 0.5, "decision": True}


def test_each_text_gets_its_class_and_the_probability_of_each() -> None:
    app = create_app(lambda texts: replace(_predict(texts), decisions=CLASS), ("a", "b"), CLASSES)
    with TestClient(app) as client:
        (answer,) = client.post("/predict", json={"texts": ["xyz"]}).json()["predictions"]
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert answer == {"class_name": "b", "probabilities": {"a": pytest.approx(0.003), "b": 0.5}}
    assert "ClassPrediction" in schemas
    assert "LabelPrediction" not in schemas


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 422, "body: Field required"),
        (b"{", 422, "JSON decode error"),
        (b"\xff\xfe", 422, "JSON decode error"),
        (b"\x80", 400, "error parsing the body"),
        (b"[" * 100_000, 400, "error parsing the body"),
        (b'{"texts": [' + b"9" * 5000 + b"]}", 400, "error parsing the body"),
        (b'{"texts": [1e999]}', 422, "body.texts.0: Input should be a valid string"),
        (b'{"texts": [NaN]}', 422, "body.texts.0: Input should be a valid string"),
        (b'{"texts": "one"}', 422, "body.texts: Input should be a valid list"),
        (b'{"texts": []}', 422, "body.texts: List should have at least 1 item"),
        (b'{"texts": ["x", " "]}', 422, "body.texts.1: a text must not be blank"),
        (b'{"texts": ["\\ud800"]}', 422, "body.texts.0: Input should be a valid string"),
        (b'{"texts": ["x"], "\\ud800": 1}', 422, "valid string"),
        (b'{"texts": ["x"], "\xc3\xbcber": 1}', 422, "body.?ber: Extra inputs are not permitted"),
        (json.dumps({"texts": ["x"] * (MAX_TEXTS + 1)}), 422, "at most 128 items"),
        (json.dumps({"texts": ["x" * (MAX_CHARACTERS + 1)]}), 422, "at most 50000 characters"),
        (b"x" * (MAX_BODY_BYTES + 1), 413, "Content Too Large"),
    ],
)
def test_what_a_client_gets_wrong_is_a_4xx_that_says_what(
    client: TestClient, body: bytes, status: int, message: str
) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert message in answer.text
    assert len(answer.text) < 300


def test_a_body_without_a_length_is_read_no_further_than_its_limit(client: TestClient) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * (MAX_BODY_BYTES // 4)

    headers = {"Content-Type": "application/json"}
    assert client.post("/predict", content=endless(), headers=headers).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/predict", 405), ("GET", "/none", 404)]
)
def test_other_addresses_are_not_there(
    client: TestClient, method: str, path: str, status: int
) -> None:
    assert client.request(method, path).status_code == status


def test_a_full_queue_says_when_to_come_back(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.serving.batching.MAX_WAITING_TEXTS", 1)
    refused = client.post("/predict", json={"texts": ["x", "y"]})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.json() == {"detail": "Too many texts wait already."}
    assert client.post("/predict", json={"texts": ["x"]}).status_code == 200


def test_a_bug_of_ours_is_a_500_and_the_next_request_is_answered(client: TestClient) -> None:
    assert client.post("/predict", json={"texts": ["bug"]}).status_code == 500
    assert client.post("/predict", json={"texts": ["x"]}).status_code == 200


def test_it_counts_for_prometheus(client: TestClient) -> None:
    client.post("/predict", json={"texts": ["x", "y"]})
    client.post("/predict", json={})
    client.get("/some/path")
    shown = client.get("/metrics")
    assert shown.headers["Content-Type"].startswith("text/plain; version=")
    for line in (
        'tagsweep_requests_total{path="/predict",status="200"} 1.0',
        'tagsweep_requests_total{path="/predict",status="422"} 1.0',
        'tagsweep_requests_total{path="other",status="404"} 1.0',
        'tagsweep_request_seconds_count{path="/predict"} 2.0',
        "tagsweep_batch_texts_sum 2.0",
        "tagsweep_waiting_texts 0.0",
    ):
        assert line in shown.text


def test_its_schema_names_limits_and_errors(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    texts = schema["components"]["schemas"]["Request"]["properties"]["texts"]
    assert (texts["minItems"], texts["maxItems"]) == (1, MAX_TEXTS)
    assert texts["items"]["maxLength"] == MAX_CHARACTERS
    responses = schema["paths"]["/predict"]["post"]["responses"]
    assert responses.keys() == {"200", "400", "413", "422", "503"}


def test_no_page_loads_scripts_from_elsewhere(client: TestClient) -> None:
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
