"""Serve a predictor until a signal comes, and finish what has begun."""

import socket
from contextlib import suppress

import typer
import uvicorn

from orchestrator.listening import address_of
from orchestrator.predict import Predictor, predict
from orchestrator.serving.app import create_app

GRACE_S = 30
"""How long requests under way may take to finish after a signal, in seconds."""


def serve(predictor: Predictor, reserved: socket.socket) -> None:
    """Serve on a reserved address until SIGINT or SIGTERM; requests under way are answered."""
    manifest = predictor.bundle.manifest
    predict(predictor, ["What is compiled is compiled before anybody waits for it."])
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
