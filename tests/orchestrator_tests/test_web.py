import json
import socket
from collections.abc import Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from orchestrator.web import address_of, listen, read_only
from shared.errors import InputError


def _ask(method: str) -> tuple[str, dict[str, str], str]:
    """Return status, headers and content of a read-only application's answer."""
    answered: list[Any] = []

    def start_response(*answer: Any) -> None:
        answered.extend(answer)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [environ["REQUEST_METHOD"].encode()]

    environ: dict[str, Any] = {"REQUEST_METHOD": method}
    setup_testing_defaults(environ)
    content = b"".join(read_only(app)(environ, start_response)).decode()
    return answered[0], dict(answered[1]), content


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_only_reads_is_answered(method: str) -> None:
    assert _ask(method) == ("200 OK", {}, method)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_may_write_is_refused(method: str) -> None:
    status, headers, content = _ask(method)
    assert status == "405 Method Not Allowed"
    assert headers["Allow"] == "GET, HEAD"
    assert "read-only" in json.loads(content)["reason"]


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}: .*in use.*choose another port"):
            listen("127.0.0.1", port)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_address_of_version_6_can_be_followed() -> None:
    with listen("::1", 0) as listener:
        assert address_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"
