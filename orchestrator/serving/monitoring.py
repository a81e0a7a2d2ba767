"""Count what the server does, for Prometheus."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Metrics:
    """Hold the metrics of one server."""

    def __init__(self) -> None:
        """Start at 0."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tagsweep_requests",
            "Requests answered, by path and HTTP status; 4xx and 5xx are errors.",
            ["path", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "tagsweep_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch_texts = Histogram(
            "tagsweep_batch_texts",
            "Texts that went through encoder and model together.",
            buckets=TEXTS,
            registry=self.registry,
        )
        self.waiting_texts = Gauge(
            "tagsweep_waiting_texts", "Texts that wait for a batch.", registry=self.registry
        )


def monitored(app: Application, metrics: Metrics, paths: frozenset[str]) -> Application:
    """Return the application with its requests counted; paths but the given ones are `other`."""

    async def run(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        status, started = 500, time.perf_counter()

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, note)
        finally:
            path = scope["path"] if scope["path"] in paths else "other"
            metrics.requests.labels(path, status).inc()
            metrics.seconds.labels(path).observe(time.perf_counter() - started)

    return run
