"""Serve optuna-dashboard on the studies of a storage."""

import ipaddress

from shared.errors import InputError
from shared.search.storage import opened_storage


def serve(storage_url: str, host: str, port: int, *, is_known_open: bool) -> None:
    """Serve until a signal comes; the storage's tables are made when there are none.

    Raises InputError for an address that others reach, unless the user knows that it is open:
    optuna-dashboard asks nobody who they are, and can delete studies.
    """
    if not is_known_open and not _is_loopback(host):
        raise InputError(
            f"optuna-dashboard has no passwords and can delete studies, but {host} may be reached"
            " by others. Leave --host out and come through SSH or a proxy that asks for a login;"
            " or say --i-know."
        )
    from optuna_dashboard import run_server

    with opened_storage(storage_url) as storage:
        run_server(storage, host, port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
