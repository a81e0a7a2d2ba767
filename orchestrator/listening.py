"""Listen where nobody else can, and keep what has no passwords to this machine."""

import ipaddress
import socket

from shared.errors import InputError


def require_loopback(host: str, why: str, *, is_known_open: bool) -> None:
    """Raise InputError for an address that others reach, unless the user knows that it is open.

    `why` begins the message: what is served, and what others could do with it.
    """
    if is_known_open or _is_loopback(host):
        return
    raise InputError(
        f"{why}, but {host} may be reached by others. Leave --host out and come through SSH or a"
        " proxy that asks for a login; or say --i-know."
    )


def reserve(host: str, port: int) -> socket.socket:
    """Bind an address; until somebody listens there, connections are refused.

    Raises InputError for what is no address of this machine, and where another process listens.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(f"{host} is no address to listen at: {error}.") from error
    family, kind, protocol, _, address = found[0]
    reserved = socket.socket(family, kind, protocol)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind(address)
    except OSError as error:
        reserved.close()
        raise InputError(
            f"Nothing can be served at {host}, port {port}: {error.strerror}."
            " Stop what listens there, or choose another port with --port."
        ) from error
    return reserved


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; raises as `reserve` does."""
    listener = reserve(host, port)
    listener.listen()
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the URL of what a socket serves."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
