"""Predict for many requests at a time: what waits goes through encoder and model together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from orchestrator.bundle.predict import Prediction

BATCH_TEXTS = 64
"""Texts at which a batch takes no further request."""
GATHER_S = 0.003
"""How long a batch waits for company, in seconds; a text takes the encoder as long or longer."""
MAX_WAITING_TEXTS = 512
"""Texts that may wait; beyond, it is better to be refused at once than to wait for seconds."""


class FullError(Exception):
    """Report that too many texts wait already."""


@dataclass(frozen=True)
class _Waiting:
    """Hold a request's texts and where its caller waits for their prediction."""

    texts: Sequence[str]
    answer: asyncio.Future[Prediction]


class Batcher:
    """Let one thread predict, batch after batch, for all who submit texts."""

    def __init__(
        self, predict: Callable[[Sequence[str]], Prediction], on_batch: Callable[[int], None]
    ) -> None:
        """Take what predicts on texts, in their order; `on_batch` is told each batch's texts."""
        self._predict, self._on_batch = predict, on_batch
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self.n_waiting = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Predict for as long as the block lasts."""
        with ThreadPoolExecutor(1, "predict") as executor:
            worker = asyncio.create_task(self._work(executor))
            try:
                yield
            finally:
                worker.cancel()

    async def submit(self, texts: Sequence[str]) -> Prediction:
        """Return the prediction for some texts; raise FullError when too many wait already."""
        if self.n_waiting + len(texts) > MAX_WAITING_TEXTS:
            raise FullError
        self.n_waiting += len(texts)
        answer: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Waiting(texts, answer))
        return await answer

    async def _work(self, executor: Executor) -> None:
        while True:
            batch = [await self._queue.get()]
            await asyncio.sleep(GATHER_S)
            while _n_texts(batch) < BATCH_TEXTS and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            self.n_waiting -= _n_texts(batch)
            await self._answer(batch, executor)

    async def _answer(self, batch: list[_Waiting], executor: Executor) -> None:
        texts = [text for request in batch for text in request.texts]
        self._on_batch(len(texts))
        try:
            predicted = await asyncio.get_running_loop().run_in_executor(
                executor, self._predict, texts
            )
        except Exception as error:  # noqa: BLE001  it is raised where each request waits
            for request in batch:
                if not request.answer.done():
                    request.answer.set_exception(error)
            return
        start = 0
        for request in batch:
            own = slice(start, start + len(request.texts))
            start = own.stop
            if not request.answer.done():
                request.answer.set_result(
                    Prediction(predicted.probabilities[own], predicted.decisions[own])
                )


def _n_texts(batch: Sequence[_Waiting]) -> int:
    return sum(len(request.texts) for request in batch)
