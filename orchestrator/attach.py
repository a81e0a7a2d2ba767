"""Attach this machine to a study as one more worker, without Ray and without a driver."""

import os
import signal
import socket
import threading
from types import FrameType

import optuna

from shared.errors import InputError
from shared.search.storage import open_storage
from shared.search.study import FINGERPRINT, LABELS, STORE, read_config
from workers import WorkerSpec, attach_worker


def attach(storage_url: str, study_name: str) -> bool:
    """Work on a study until its budget is spent; return False when a signal came before.

    SIGINT and SIGTERM hand the trials under way back, kept to be gone on from by others. Raises
    InputError when the storage has no such study, or its search has not begun.
    """
    storage = open_storage(storage_url)
    config = read_config(storage, study_name)
    attrs = (
        {}
        if config is None
        else optuna.load_study(storage=storage, study_name=study_name).user_attrs
    )
    storage.remove_session()
    storage.engine.dispose()
    if config is None or STORE not in attrs:
        raise InputError(
            f"There is no search of a study {study_name!r} to work on. Start one first, with"
            f" `tagsweep run --storage ... --study-name {study_name}`."
        )
    spec = WorkerSpec(
        storage_url=storage_url,
        study_name=study_name,
        fingerprint=attrs[FINGERPRINT],
        label_names=tuple(attrs[LABELS]),
        config=config,
        store=attrs[STORE],
    )
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    attach_worker(spec, f"{socket.gethostname()}-{os.getpid()}", stopping.is_set)
    return not stopping.is_set()
