import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from orchestrator.web import address_of, listen, serve_read_only
from shared.errors import InputError


def _app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}".encode()]


@pytest.fixture
def address() -> Iterator[str]:
    with listen("127.0.0.1", 0) as listener:
        threading.Thread(target=serve_read_only, args=(_app, listener), daemon=True).start()
        yield address_of(listener)


def test_what_only_reads_is_answered(address: str) -> None:
    with urllib.request.urlopen(f"{address}/studies") as response:  # noqa: S310  our own
        assert response.read() == b"GET /studies"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_may_write_is_refused(address: str, method: str) -> None:
    request = urllib.request.Request(f"{address}/studies", b"{}", method=method)  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)  # noqa: S310
    assert refused.value.code == 405
    assert refused.value.headers["Allow"] == "GET, HEAD"
    assert "read-only" in json.loads(refused.value.read())["reason"]
    refused.value.close()


def test_a_port_that_is_taken_is_told_in_one_line(address: str) -> None:
    port = int(address.rsplit(":", 1)[1])
    with pytest.raises(InputError, match=f"port {port}: .*in use.*choose another port"):
        listen("127.0.0.1", port)


def test_a_port_that_is_none_is_told(address: str) -> None:
    del address
    with pytest.raises(InputError, match="port 70000"):
        listen("127.0.0.1", 70000)


def test_the_address_of_a_newer_kind_can_be_followed() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with listen("::1", 0) as listener:
        assert address_of(listener).startswith("http://[::1]:")
