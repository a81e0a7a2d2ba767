"""Encode texts in Ray actors, on a cluster or in several processes of this machine."""

import importlib
import logging
import math
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from shared.config.sections import WorkersConfig
from shared.encoding.backends import choose_by_sample, load_chosen, sample_of
from shared.encoding.chunks import Chunk, Encoded, Encoding, Loaded, describe, encode_chunk
from shared.encoding.encoder import Encoder, find_again
from shared.errors import InputError, TagsweepError
from shared.gpu_memory import USABLE
from shared.versions import require_versions, versions
from workers.ray_session import (
    RaySession,
    ask_for,
    assigned_gpus,
    cause_of,
    count_places,
    what_there_is,
)

MAX_TRIES = 3
"""How often a chunk is given out whose actor dies over it: texts that exhaust a machine's memory
would end one after the other."""

LOOK_S = 1.0
"""How often is looked whether Ray is still there, while nothing returns."""

logger = logging.getLogger(__name__)


class EncoderProcess:
    """Be an encoder in a process of its own."""

    def __init__(self, n_threads: int, drivers: Mapping[str, str]) -> None:
        """Import what encoding needs; raise TagsweepError where that is not what the driver has."""
        require_versions(drivers, f"A process that encodes on {socket.gethostname()}")
        import torch

        torch.set_num_threads(n_threads)
        if torch.cuda.is_available() and (n_gpus := assigned_gpus()):
            torch.cuda.set_per_process_memory_fraction(USABLE * min(1.0, n_gpus))
        importlib.import_module("sentence_transformers")

    def ping(self) -> None:
        """Answer, to show that this process has a place."""

    def choose(self, encoder: Encoder, sample: Sequence[str], n_texts: int) -> Loaded:
        """Load the encoder for the backend that suits `n_texts` texts like those of the sample."""
        with _naming_this_node():
            self._encoder = find_again(encoder)
            choice, self._model = choose_by_sample(self._encoder, sample, n_texts)
            return describe(choice, self._model)

    def load(self, encoder: Encoder) -> str | None:
        """Load the encoder for the backend that another chose; say why where it cannot be that."""
        with _naming_this_node():
            self._encoder = find_again(encoder)
            self._model, obstacle = load_chosen(self._encoder)
            return obstacle and f"{socket.gethostname()} encodes with torch: {obstacle}"

    def encode(self, chunk: Chunk) -> Encoded:
        """Return the embeddings of a chunk's texts."""
        with _naming_this_node():
            return encode_chunk(self._model, self._encoder, chunk)


@contextmanager
def encoding_on_ray(
    config: WorkersConfig,
    n_encoders: int | None,
    address: str | None,
    encoder: Encoder,
    chunks: Sequence[Chunk],
) -> Iterator[Encoding]:
    """Encode chunks in actors; `n_encoders` None has as many as there could be workers."""
    config = config.model_copy(update={"max": n_encoders or config.max})
    begin = partial(_ask_for_encoders, config, address, len(chunks))
    session = RaySession(config, address, begin)
    try:
        encoders = _Encoders(config, session)
        loaded = encoders.load(encoder, list(chain.from_iterable(chunks)))
        yield loaded, encoders.encode(chunks)
    finally:
        session.close()


class _Encoders:
    """Give chunks to actors, and those of an actor that is lost to others."""

    def __init__(self, config: WorkersConfig, session: RaySession[list[Any]]) -> None:
        self._config = config
        self._session = session
        self._encoder: Encoder | None = None
        self._idle: list[Any] = []
        self._todo: deque[int] = deque()
        # Who works on what: an actor, and the number of its chunk, or None while it loads.
        self._calls: dict[Any, tuple[Any, int | None]] = {}
        self._n_lost: Counter[int] = Counter()
        self._warned: set[str] = set()
        self._cause = ""

    def load(self, encoder: Encoder, texts: Sequence[str]) -> Loaded:
        """Let the first actor that has a place choose the backend, and tell the others."""
        actors, sample = self._session.actors(), sample_of(texts)
        pings = {actor.ping.remote(): actor for actor in actors}
        while pings:
            ping = self._next(list(pings), has_place=False)
            first = pings.pop(ping)
            try:
                _result_of(ping)
                loaded: Loaded = _result_of(first.choose.remote(encoder, sample, len(texts)))
            except RayError as error:
                self._note_loss(error)
                continue
            self._encoder = replace(encoder, backend=loaded.choice.backend)
            self._idle.append(first)
            for other in pings.values():
                self._have_loaded(other)
            return loaded
        raise TagsweepError(f"All processes to encode texts died as they started: {self._cause}")

    def encode(self, chunks: Sequence[Chunk]) -> Iterator[tuple[int, Encoded]]:
        """Yield chunks as they are done; raise TagsweepError when one cannot be."""
        self._todo.extend(range(len(chunks)))
        n_left = len(chunks)
        while n_left:
            self._hand_out(chunks)
            has_place = any(number is not None for _, number in self._calls.values())
            call = self._next(list(self._calls), has_place=has_place)
            actor, number = self._calls.pop(call)
            try:
                result = _result_of(call)
            except RayError as error:
                self._note_loss(error)
                if number is not None:
                    self._give_to_another(number)
                continue
            self._idle.append(actor)
            if number is None:
                self._warn_once(result)
                continue
            n_left -= 1
            self._hand_out(chunks)  # before the caller takes its time with this one
            yield number, result

    def _have_loaded(self, actor: Any) -> None:
        self._calls[actor.load.remote(self._encoder)] = actor, None

    def _hand_out(self, chunks: Sequence[Chunk]) -> None:
        while self._idle and self._todo:
            actor, number = self._idle.pop(), self._todo.popleft()
            self._calls[actor.encode.remote(chunks[number])] = actor, number

    def _give_to_another(self, number: int) -> None:
        """Put a chunk back that an actor died over; one more takes the place of that actor."""
        self._n_lost[number] += 1
        if self._n_lost[number] == MAX_TRIES:
            raise TagsweepError(
                f"{MAX_TRIES} processes died over the same texts, most likely for want of memory."
                " Lower encoder.batch_tokens or encoder.n_workers, and run the same command again:"
                " it goes on from here."
            )
        self._todo.appendleft(number)
        if not self._idle:
            self._have_loaded(_ask_for_encoder(self._config))

    def _next(self, calls: list[Any], *, has_place: bool) -> Any:
        """Wait for one of the calls to return; where no actor has a place, not for ever."""
        if not calls:
            raise TagsweepError(
                f"All processes to encode texts died as they loaded the encoder: {self._cause}"
            )
        timeout_s = math.inf if has_place else self._config.start_timeout_s
        deadline = time.monotonic() + timeout_s
        self._session.require_alive()
        while not (returned := ray.wait(calls, timeout=min(LOOK_S, timeout_s))[0]):
            self._session.require_alive()
            if time.monotonic() < deadline:
                continue
            raise TagsweepError(
                f"There must be a place to encode texts within {timeout_s:g} s, with"
                f" {self._config.cpus_per_worker:g} CPUs and {self._config.gpus_per_worker:g} GPUs,"
                f" but there is none. {what_there_is()} Add nodes to it, or ask for less."
            )
        return returned[0]

    def _note_loss(self, error: RayError) -> None:
        logger.warning("A process that encodes was lost: %s", error)
        self._cause = cause_of(error)

    def _warn_once(self, obstacle: str | None) -> None:
        if obstacle is not None and obstacle not in self._warned:
            self._warned.add(obstacle)
            logger.warning(obstacle)


def _ask_for_encoders(config: WorkersConfig, address: str | None, n_chunks: int) -> list[Any]:
    n_encoders = min(count_places(config, address), n_chunks)
    logger.info("Encoding in %d processes", n_encoders)
    return [_ask_for_encoder(config) for _ in range(n_encoders)]


def _ask_for_encoder(config: WorkersConfig) -> Any:
    return ask_for(EncoderProcess, config, max(1, int(config.cpus_per_worker)), versions())


def _result_of(call: Any) -> Any:
    """Return what a call came to; raise its TagsweepError, or Ray's error where the actor died."""
    try:
        return ray.get(call)
    except RayTaskError as error:
        cause = error.cause
        raise cause if isinstance(cause, TagsweepError) else TagsweepError(str(cause)) from error


@contextmanager
def _naming_this_node() -> Iterator[None]:
    """Say on which node an error was met."""
    try:
        yield
    except InputError as error:
        raise InputError(f"On node {socket.gethostname()}: {error}") from error
    except Exception as error:  # the encoder's library raises whatever it stumbles over
        raise TagsweepError(
            f"The encoder failed on node {socket.gethostname()}: {type(error).__name__}: {error}"
        ) from error
