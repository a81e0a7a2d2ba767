"""Serve a predictor until a signal comes, and finish what has begun."""

import socket
from contextlib import suppress

import numpy as np
import typer
import uvicorn

from orchestrator.bundle.predict import Predictor, embed_texts, predict, predict_embedded
from orchestrator.listening import address_of
from orchestrator.serving.app import create_app
from orchestrator.serving.batching import BATCH_TEXTS
from orchestrator.serving.messages import MAX_TEXTS

GRACE_S = 30
"""How long requests under way may take to finish after a signal, in seconds."""


def serve(predictor: Predictor, reserved: socket.socket) -> None:
    """Serve on a reserved address until SIGINT or SIGTERM; requests under way are answered."""
    manifest = predictor.bundle.manifest
    _warm_up(predictor)
    config = uvicorn.Config(
        create_app(lambda texts: predict(predictor, texts), manifest.label_names, manifest.task),
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ws="none",
    )
    reserved.listen()
    typer.echo(f"The classifier is at {address_of(reserved)}")
    with suppress(KeyboardInterrupt):  # uvicorn passes the signal on when all is done
        uvicorn.Server(config).run(sockets=[reserved])


def _warm_up(predictor: Predictor) -> None:
    """Have compiled what is compiled, for as many texts as a batch has, before anybody waits."""
    vectors = embed_texts(predictor, ["warm"])
    most = BATCH_TEXTS - 1 + MAX_TEXTS
    for power in range((most - 1).bit_length() + 1):
        predict_embedded(predictor.bundle, np.repeat(vectors, 2**power, axis=0))
