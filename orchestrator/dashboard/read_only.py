"""Serve a web application that only reads, on one socket, each request in a thread."""

import json
import logging
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

REFUSAL = "This page is read-only: studies are changed and deleted with tagsweep's command line."

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""A WSGI application (PEP 3333)."""


def serve_read_only(app: App, listener: socket.socket) -> None:
    """Answer requests until the process ends."""
    _Server(listener, read_only(app)).serve_forever()


def read_only(app: App) -> App:
    """Let an application answer what only reads; all else is refused with status 405."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
            return app(environ, start_response)
        status = HTTPStatus.METHOD_NOT_ALLOWED
        headers = [("Content-Type", "application/json"), ("Allow", "GET, HEAD")]
        start_response(f"{status.value} {status.phrase}", headers)
        return [json.dumps({"reason": REFUSAL}).encode()]

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, app: App) -> None:
        host, port = listener.getsockname()[:2]
        super().__init__((host, port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = host, port
        self.setup_environ()
        self.set_app(app)


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its base's name
        """Tell the log, and not the terminal."""
        logging.getLogger(__name__).debug(format, *args)
