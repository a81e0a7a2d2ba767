import json
from collections.abc import Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from orchestrator.dashboard.read_only import read_only


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
