"""Attach this machine to a study as one more worker, without Ray and without a driver."""

import socket
import threading
import time
from types import FrameType
from uuid import uuid4

import optuna

from orchestrator.runs.locks import is_driven
from orchestrator.terminal.signals import on_leaving
from shared.errors import InputError
from shared.store import Store
from shared.study.attributes import (
    FINGERPRINT,
    LABELS,
    LIMITS,
    SEARCH_S,
    STORE,
    UUID,
    VERSIONS,
    Limits,
)
from shared.study.budget import is_out_of_time
from shared.study.patience import OutageError
from shared.study.study import read_attrs, read_config
from shared.study.tables.storage import opened_storage
from shared.study.tables.study_storage import StudyStorage
from workers import WorkerSpec, attach_worker


def attach(storage_url: str, study_name: str) -> bool:
    """Work on a study until its budget or time is spent; return False when a signal came before.

    SIGINT, SIGTERM and SIGHUP hand the trials under way back, kept to be gone on from by others.
    Raises InputError when the storage has no such study, or its search has not begun.
    """
    with opened_storage(storage_url) as storage:
        return _attach(storage, storage_url, study_name)


def _attach(storage: StudyStorage, storage_url: str, study_name: str) -> bool:
    started = time.monotonic()
    config, attrs = read_config(storage, study_name), read_attrs(storage, study_name)
    if config is None or not attrs or STORE not in attrs:
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
        store=Store(attrs[STORE]),
        study_uuid=attrs[UUID],
        versions=attrs[VERSIONS],
    )
    limits, stopping = Limits(**attrs[LIMITS]), threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    on_leaving(stop)

    def searched_s() -> float:
        """Go on counting where the study stood; a driver counts at the same pace."""
        return float(attrs[SEARCH_S]) + time.monotonic() - started

    def should_stop() -> bool:
        return stopping.is_set() or is_out_of_time(searched_s(), limits.timeout_s)

    try:
        # Pids are not of one space where machines are containers, nor are names of hosts.
        attach_worker(spec, f"{socket.gethostname()}-{uuid4().hex[:8]}", should_stop)
    except OutageError:
        raise  # and not wait a second time
    except BaseException:
        _record_time(storage, study_name, searched_s())
        raise
    _record_time(storage, study_name, searched_s())
    return not stopping.is_set()


def _record_time(storage: StudyStorage, study_name: str, searched_s: float) -> None:
    """Write down how long the search has taken, unless a driver does."""
    study = optuna.load_study(storage=storage, study_name=study_name)
    if not is_driven(storage, study_name) and searched_s > study.user_attrs[SEARCH_S]:
        study.set_user_attr(SEARCH_S, round(searched_s, 1))
