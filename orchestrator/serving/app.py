"""Define the server's three addresses: predict, health, metrics."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, HTTPException
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from orchestrator.bundle.predict import Prediction
from orchestrator.serving.batching import Batcher, FullError
from orchestrator.serving.messages import (
    ClassPrediction,
    ClassResponse,
    Health,
    LabelPrediction,
    Problem,
    Request,
    Response,
)
from orchestrator.serving.monitoring import Application, Metrics, monitored
from shared.training.params import Task

MAX_BODY_BYTES = 1 << 20
"""What is read of a request at most."""
RETRY_AFTER_S = 1
MAX_DETAIL = 200
"""Characters of a message; a client's own words are part of it."""
GIVEN: dict[Task, str] = {
    "multilabel": "probability and the decision of each label",
    "multiclass": "probability of each class, and the most probable one",
}
PROBLEMS: dict[int | str, dict[str, object]] = {
    400: {"model": Problem, "description": "The body cannot be read."},
    413: {"description": f"The body has more than {MAX_BODY_BYTES} bytes."},
    422: {"model": Problem, "description": "The body is not as it must be."},
    503: {"model": Problem, "description": "Too many texts wait already; see Retry-After."},
}


def create_app(
    predict: Callable[[Sequence[str]], Prediction], label_names: Sequence[str], task: Task
) -> Application:
    """Return the ASGI application around what predicts on texts."""
    in_classes = task == "multiclass"
    metrics = Metrics()
    batcher = Batcher(predict, metrics.batch_texts.observe)
    metrics.waiting_texts.set_function(lambda: batcher.n_waiting)

    @asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        async with batcher.running():
            yield

    app = FastAPI(
        title="tagsweep",
        version=version("tagsweep"),
        lifespan=running,
        max_body_size=MAX_BODY_BYTES,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
    )

    @app.post(
        "/predict",
        responses=PROBLEMS,
        response_model=ClassResponse if in_classes else Response,
        description=f"Give each text the {GIVEN[task]}.",
    )
    async def predict_texts(request: Request) -> ClassResponse | Response:
        try:
            prediction = await batcher.submit(request.texts)
        except FullError as error:
            raise HTTPException(
                503, "Too many texts wait already.", {"Retry-After": str(RETRY_AFTER_S)}
            ) from error
        tell = _class_response if in_classes else _response
        return tell(prediction, label_names)

    @app.get("/health")
    async def health() -> Health:
        """Say that the server predicts."""
        return Health()

    @app.get("/metrics", response_class=PlainTextResponse)
    async def read_metrics() -> PlainTextResponse:
        """Give the metrics in Prometheus's text format."""
        return PlainTextResponse(
            generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    @app.exception_handler(RequestValidationError)
    async def explain(_request: HttpRequest, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": _first_problem(error)}, 422)

    return monitored(app, metrics, frozenset(("/predict", "/health", "/metrics")))


def _response(prediction: Prediction, label_names: Sequence[str]) -> Response:
    rows = zip(prediction.probabilities.tolist(), prediction.decisions.tolist(), strict=True)
    return Response(
        predictions=[
            {
                name: LabelPrediction(probability=probability, decision=decision)
                for name, probability, decision in zip(label_names, *row, strict=True)
            }
            for row in rows
        ]
    )


def _class_response(prediction: Prediction, label_names: Sequence[str]) -> ClassResponse:
    rows = zip(prediction.probabilities.tolist(), prediction.decisions, strict=True)
    return ClassResponse(
        predictions=[
            ClassPrediction(
                class_name=label_names[int(decisions.argmax())],
                probabilities=dict(zip(label_names, probabilities, strict=True)),
            )
            for probabilities, decisions in rows
        ]
    )


def _first_problem(error: RequestValidationError) -> str:
    """Say where and what, in characters that any encoding has; the input itself is not repeated."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    is_blank = first["type"] == "string_pattern_mismatch"
    what = "a text must not be blank" if is_blank else first["msg"]
    return f"{place}: {what}".encode("ascii", "replace").decode()[:MAX_DETAIL]
