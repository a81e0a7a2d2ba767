import socket

import pytest

from orchestrator.listening import address_of, listen, require_loopback, reserve
from shared.errors import InputError


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104
def test_an_address_that_others_reach_is_refused_unless_that_is_known(host: str) -> None:
    with pytest.raises(InputError, match=f"It is open, but {host} may be reached by others"):
        require_loopback(host, "It is open", is_known_open=False)
    require_loopback(host, "It is open", is_known_open=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_an_address_of_this_machine_alone_is_not(host: str) -> None:
    require_loopback(host, "It is open", is_known_open=False)


def test_a_reserved_address_refuses_until_somebody_listens_and_then_it_is_taken() -> None:
    with reserve("127.0.0.1", 0) as reserved:
        address = reserved.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        reserved.listen()
        socket.create_connection(address).close()
        with pytest.raises(InputError, match=f"port {address[1]}: .*in use.*choose another port"):
            reserve(*address)


@pytest.mark.parametrize("host", ["no such host", "host.invalid", "a" * 70, "192.0.2.1"])
def test_what_is_no_address_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="is no address|assign requested address"):
        reserve(host, 8000)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_address_of_version_6_can_be_followed() -> None:
    with listen("::1", 0) as listener:
        assert address_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"
